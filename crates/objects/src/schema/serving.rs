//! Which of the kinds a server serves (`--runtime-config`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Kind, Schema};
use crate::field::go_bool;

/// What cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServingError {
    /// What is on by default stays on.
    #[error("{key}={value}: what is on by default cannot be turned off")]
    AlwaysOn {
        /// E.g. `api/all`.
        key: String,
        /// E.g. `false`.
        value: String,
    },
    /// No boolean.
    #[error("{key}={value}: use true or false")]
    NoBool {
        /// E.g. `api/beta`.
        key: String,
        /// E.g. `yes`.
        value: String,
    },
    /// No API that could be turned on.
    #[error("unknown API {key:?}: there is {}", known().join(", "))]
    Unknown {
        /// E.g. `apps/v1`.
        key: String,
    },
}

impl Schema {
    /// The built-in kinds, served with these entries: `KEY=BOOL` or `KEY`, where the key is `GROUP/VERSION/RESOURCE`,
    /// `GROUP/VERSION`, `api/beta` or `api/all`. The narrower key counts, and of the same key the last one.
    ///
    /// # Errors
    /// An unknown key, a value that is no boolean, or one that would turn off what is always on.
    pub fn serving<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Arc<Schema>, ServingError> {
        let mut wanted = BTreeMap::new();
        for entry in entries.into_iter().map(str::trim).filter(|entry| !entry.is_empty()) {
            let (key, value) = entry.split_once('=').unwrap_or((entry, "true"));
            let no_bool = || ServingError::NoBool { key: key.into(), value: value.into() };
            let on = value.is_empty() || go_bool(value).ok_or_else(no_bool)?;
            if !known().iter().any(|known| known == key) {
                return Err(ServingError::Unknown { key: key.into() });
            }
            if key == ALL && !on {
                return Err(ServingError::AlwaysOn { key: key.into(), value: value.into() });
            }
            wanted.insert(key, on);
        }
        let on = |kind: &Kind| keys(kind).iter().find_map(|key| wanted.get(key.as_str())).copied();
        let mut schema = Schema::clone(Schema::builtin());
        for entry in schema.kinds.values_mut() {
            entry.served = !entry.kind.off_by_default || on(&entry.kind).unwrap_or(false);
        }
        Ok(Arc::new(schema))
    }
}

const ALL: &str = "api/all";
const BETA: &str = "api/beta";

/// The keys that turn a kind on, the narrowest first.
fn keys(kind: &Kind) -> Vec<String> {
    let api = kind.api_version();
    let mut keys = vec![format!("{api}/{}", kind.plural), api];
    if kind.version.contains("beta") {
        keys.push(BETA.into());
    }
    keys.push(ALL.into());
    keys
}

/// All keys, the narrowest last.
fn known() -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    let builtin = Schema::builtin();
    let off = builtin.kinds().filter(|kind| kind.off_by_default);
    for key in off.flat_map(|kind| keys(kind).into_iter().rev()) {
        if !known.contains(&key) {
            known.push(key);
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "certificates.k8s.io/v1beta1";
    const BUNDLES: &str = "certificates.k8s.io/v1beta1/clustertrustbundles";

    fn on(entries: &[&str]) -> bool {
        let served = Schema::serving(entries.iter().copied()).unwrap();
        let on = served.resource("certificates.k8s.io", "v1beta1", "clustertrustbundles").is_some();
        assert_eq!(served.serves(API), on);
        assert_eq!(served.served().count(), Schema::builtin().served().count() + usize::from(on));
        assert!(served.resource("", "v1", "pods").is_some(), "whatever else is asked for");
        on
    }

    #[test]
    fn what_is_off_by_default_is_served_when_asked_for() {
        for entries in [&[][..], &[""], &["api/beta=false"], &["api/all=true", "api/beta=0"]] {
            assert!(!on(entries), "{entries:?}");
        }
        for key in ["api/all", "api/beta", API, BUNDLES] {
            for entry in [key.to_owned(), format!("{key}="), format!("{key}=true"), format!(" {key}=1")] {
                assert!(on(&[&entry]), "{entry}");
            }
        }
    }

    #[test]
    fn the_narrower_key_counts_in_any_order() {
        let (api_off, bundles_off) = (format!("{API}=false"), format!("{BUNDLES}=false"));
        assert!(on(&[BUNDLES, &api_off]) && on(&[&api_off, BUNDLES]));
        assert!(!on(&[&bundles_off, API]) && !on(&["api/all", &api_off]));
        assert!(on(&[&api_off, API]), "of one key the last");
    }

    #[test]
    fn what_cannot_be_asked_for_is_told() {
        let refused = |entry: &str| Schema::serving([entry]).unwrap_err().to_string();
        assert_eq!(
            refused("apps/v1=true"),
            format!("unknown API \"apps/v1\": there is api/all, api/beta, {API}, {BUNDLES}")
        );
        assert_eq!(refused("api/beta=yes"), "api/beta=yes: use true or false");
        assert!(refused("api/all=false").starts_with("api/all=false: "));
    }
}
