//! What a request to revoke says, read so that no token can be kept as a name.

use serde::Deserialize;
use tokensmith_core::Error;
use tokensmith_core::ledger::jti::{self, Given, holds_token};
use tokensmith_core::ledger::{NamespacedName, What};

/// Longest texts in a request,
const MAX: usize = 1024;
/// and the longest token: with all its claims, signed with the longest signature.
const MAX_TOKEN: usize = 64 << 10;

/// Exactly one of account, jti, key, pod and token. Has no `Debug`: what was given may be a token.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RevocationBody {
    account: Option<String>,
    jti: Option<String>,
    key: Option<String>,
    pod: Option<String>,
    token: Option<String>,
    /// `true`: what nobody knows, too. `false`: an account or a pod must be there or have tokens. Left out, only ids must
    /// be known.
    pub(super) force: Option<bool>,
    pub(super) reason: String,
}

/// What is to be revoked.
pub(super) enum Target {
    /// By its name.
    Name(What),
    /// The token itself.
    Token(String),
}

impl RevocationBody {
    pub(super) fn target(&self) -> Result<Target, Error> {
        let fields = [
            ("account", &self.account),
            ("jti", &self.jti),
            ("key", &self.key),
            ("pod", &self.pod),
            ("token", &self.token),
        ];
        let mut given = fields.iter().filter_map(|(field, value)| Some((*field, value.as_deref()?)));
        let (Some((field, value)), None) = (given.next(), given.next()) else {
            return bad("name exactly one of account, jti, key and pod, or give a token");
        };
        // A token's id may have been given as the token, and then is as long.
        let longest = if matches!(field, "jti" | "token") { MAX_TOKEN } else { MAX };
        for (field, value, longest) in [(field, value, longest), ("reason", self.reason.as_str(), MAX)] {
            if value.len() > longest {
                return bad(format!("{field}: must not be longer than {longest} bytes"));
            }
        }
        // Reasons and names are kept, audited and shown to those who may list revocations.
        if holds_token(&self.reason) {
            return bad("reason: there is a token in it, and it would be kept: leave it out");
        }
        if !matches!(field, "jti" | "token") && holds_token(value) {
            return bad(format!("{field}: this is a token, not a name"));
        }
        let name = || value.parse::<NamespacedName>();
        let named = |e| Error::BadRequest(format!("{field}: {value:?}: {e}"));
        match field {
            "account" => name().map(|name| Target::Name(What::Account(name))).map_err(named),
            "pod" => name().map(|name| Target::Name(What::Pod(name))).map_err(named),
            "token" => match jti::given(value) {
                Ok(Given::Token(token)) => Ok(Target::Token(token)),
                _ => bad("token: this is no token, or one that was cut off or changed"),
            },
            "jti" => match jti::given(value) {
                Ok(Given::Jti(jti)) => Ok(Target::Name(What::Jti(jti))),
                Ok(Given::Token(token)) => Ok(Target::Token(token)),
                Err(e) => bad(format!("jti: {e}")),
            },
            _ if value.trim().is_empty() => bad(format!("{field}: must not be empty")),
            _ => Ok(Target::Name(What::Key(value.trim().to_owned()))),
        }
    }
}

fn bad<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::BadRequest(text.into()))
}
