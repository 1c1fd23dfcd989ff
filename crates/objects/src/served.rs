//! What one server serves of the kinds that there are (`--runtime-config`).

use std::collections::BTreeMap;

use crate::schema::{Kind, kinds};

/// The kinds that a server serves: those that are on by default, and those that were asked for.
#[derive(Clone, Debug)]
pub struct Served(Vec<&'static Kind>);

/// What cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServedError {
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

impl Default for Served {
    /// What is on by default.
    fn default() -> Self {
        Served(kinds().iter().filter(|kind| !kind.off_by_default).collect())
    }
}

impl Served {
    /// What is served with these entries: `KEY=BOOL` or `KEY`, where the key is `GROUP/VERSION/RESOURCE`,
    /// `GROUP/VERSION`, `api/beta` or `api/all`. The narrower key counts, and of the same key the last one.
    ///
    /// # Errors
    /// An unknown key, a value that is no boolean, or one that would turn off what is always on.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, ServedError> {
        let mut wanted = BTreeMap::new();
        for entry in entries.into_iter().map(str::trim).filter(|entry| !entry.is_empty()) {
            let (key, value) = entry.split_once('=').unwrap_or((entry, "true"));
            let on = match value {
                // As Go's `strconv.ParseBool`; empty is true too.
                "" | "1" | "t" | "T" | "true" | "True" | "TRUE" => true,
                "0" | "f" | "F" | "false" | "False" | "FALSE" => false,
                _ => return Err(ServedError::NoBool { key: key.into(), value: value.into() }),
            };
            if !known().iter().any(|known| known == key) {
                return Err(ServedError::Unknown { key: key.into() });
            }
            if key == ALL && !on {
                return Err(ServedError::AlwaysOn { key: key.into(), value: value.into() });
            }
            wanted.insert(key, on);
        }
        let on = |kind: &Kind| keys(kind).iter().find_map(|key| wanted.get(key.as_str())).copied();
        let served = kinds().iter().filter(|kind| !kind.off_by_default || on(kind).unwrap_or(false));
        Ok(Served(served.collect()))
    }

    /// The kinds, in discovery's order.
    pub fn kinds(&self) -> &[&'static Kind] {
        &self.0
    }

    /// A kind by group and plural.
    pub fn kind(&self, group: &str, plural: &str) -> Option<&'static Kind> {
        self.0.iter().find(|kind| kind.group == group && kind.plural == plural).copied()
    }

    /// Whether anything of an API (`GROUP/VERSION`) is served.
    pub fn has(&self, api_version: &str) -> bool {
        self.0.iter().any(|kind| kind.api_version() == api_version)
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
    for key in kinds().iter().filter(|kind| kind.off_by_default).flat_map(|kind| keys(kind).into_iter().rev())
    {
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
        let served = Served::parse(entries.iter().copied()).unwrap();
        let on = served.kind("certificates.k8s.io", "clustertrustbundles").is_some();
        assert_eq!(served.has(API), on);
        assert_eq!(served.kinds().len(), Served::default().kinds().len() + usize::from(on));
        assert!(served.kind("", "pods").is_some(), "whatever else is asked for");
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
        let refused = |entry: &str| Served::parse([entry]).unwrap_err().to_string();
        assert_eq!(
            refused("apps/v1=true"),
            format!("unknown API \"apps/v1\": there is api/all, api/beta, {API}, {BUNDLES}")
        );
        assert_eq!(refused("api/beta=yes"), "api/beta=yes: use true or false");
        assert!(refused("api/all=false").starts_with("api/all=false: "));
    }
}
