//! The access tokens that are given out: what they stand for, sealed, so that nothing has to be kept.
//!
//! They open nothing but the endpoints here, and nothing once the process has ended. What begins with `ya29.` is Google's: these
//! say what they are.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::mapping::Attributes;
use super::names;
use crate::cloud::{Sealed, Secret};

const PREFIX: &str = "tokensmith-sts.";
const PURPOSE: &str = "an access token of the local Google STS";

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// Who has it.
    pub(super) holder: Holder,
    /// What for, as words with spaces between them.
    pub(super) scope: String,
    /// From when on, in Unix seconds.
    pub(super) issued: i64,
    /// Until when.
    pub(super) expires: i64,
}

/// Who has a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Holder {
    /// A service account.
    Account {
        /// Its name.
        email: String,
    },
    /// A principal of a pool.
    Federated {
        /// The pool's name.
        pool: String,
        /// `google.subject`.
        subject: String,
        /// `google.groups`.
        groups: Vec<String>,
        /// `attribute.NAME`.
        attributes: BTreeMap<String, String>,
    },
}

impl Holder {
    /// A principal with its attributes.
    pub(super) fn federated(pool: &str, attributes: Attributes) -> Self {
        let Attributes { subject, groups, custom } = attributes;
        Holder::Federated { pool: pool.to_owned(), subject, groups, attributes: custom }
    }

    /// Its name in IAM.
    pub(super) fn principal(&self) -> String {
        match self {
            Holder::Account { email } => format!("serviceAccount:{email}"),
            Holder::Federated { pool, subject, .. } => names::principal(pool, subject),
        }
    }

    /// The members of bindings that it is.
    pub(super) fn members(&self) -> Vec<String> {
        let mut members = vec![self.principal()];
        if let Holder::Federated { pool, groups, attributes, .. } = self {
            members.push(names::everyone(pool));
            members.extend(groups.iter().map(|group| names::group(pool, group)));
            members.extend(attributes.iter().map(|(name, value)| names::attribute(pool, name, value)));
        }
        members
    }
}

impl Held {
    /// Whether one of some scopes is among its own.
    pub(super) fn has_scope(&self, wanted: &[&str]) -> bool {
        self.scope.split(' ').any(|scope| wanted.contains(&scope))
    }
}

/// Makes tokens and reads them.
pub(super) struct Tokens(Sealed);

impl Tokens {
    /// With a secret of this process.
    pub(super) fn new(secret: &Secret) -> Self {
        Tokens(Sealed::new(secret, PURPOSE))
    }

    /// A token that stands for this.
    pub(super) fn seal(&self, held: &Held) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.0.seal(held)))
    }

    /// What a token stands for, if it is one of these and still in force.
    pub(super) fn open(&self, token: &str, now: i64) -> Option<Held> {
        let sealed = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let held: Held = self.0.open(&sealed)?;
        (now < held.expires).then_some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        let holder = Holder::Federated {
            pool: "projects/1/locations/global/workloadIdentityPools/laptop".into(),
            subject: "s".into(),
            groups: vec!["g".into()],
            attributes: [("a".to_owned(), "v".to_owned())].into(),
        };
        Held { holder, scope: "https://a https://b".into(), issued: 100, expires: 200 }
    }

    #[test]
    fn only_this_process_and_only_in_time() {
        let (here, elsewhere) = (Tokens::new(&Secret([1; 32])), Tokens::new(&Secret([2; 32])));
        let token = here.seal(&held());
        assert_eq!(here.open(&token, 199), Some(held()));
        assert_eq!((here.open(&token, 200), elsewhere.open(&token, 150)), (None, None));
        assert_ne!(token, here.seal(&held()), "two tokens are two texts");
        let mut broken = token.clone();
        broken.replace_range(30..31, if &token[30..31] == "A" { "B" } else { "A" });
        for hostile in ["", PREFIX, "ya29.x", &broken, &token[PREFIX.len()..], &token[..40]] {
            assert_eq!(here.open(hostile, 150), None, "{hostile}");
        }
    }

    #[test]
    fn a_principal_is_what_bindings_may_name() {
        let pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/laptop";
        assert_eq!(
            held().holder.members(),
            [
                format!("principal:{pool}/subject/s"),
                format!("principalSet:{pool}/*"),
                format!("principalSet:{pool}/group/g"),
                format!("principalSet:{pool}/attribute.a/v"),
            ]
        );
        assert!(held().has_scope(&["x", "https://b"]) && !held().has_scope(&["https://"]));
    }
}
