//! Media types: what a body is, and what an `Accept` header wants.

/// A representation that bodies can have.
///
/// ```
/// use tokensmith_api::Media;
///
/// assert_eq!(Media::of_content_type(Some("application/yaml; charset=utf-8")), Some(Media::Yaml));
/// assert_eq!(Media::of_content_type(None), Some(Media::Json));
/// assert_eq!(Media::of_content_type(Some("text/html")), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `application/json`
    Json,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
    /// `application/yaml`
    Yaml,
}

/// The 415 text (apiserver `handlers/negotiation/errors.go`).
pub const UNSUPPORTED: &str = "the body of the request was in an unknown format - accepted media types include: \
                               application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// What most answers can be.
pub const ALL: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
/// What a list can be, which may be a watch.
pub const STREAMS: [&str; 5] = [
    ALL[0],
    ALL[1],
    ALL[2],
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];

/// Whether a route is taken for an `Accept` header: it names something that the route produces, in those very letters, whatever
/// else it says of that. So go-restful judges before any negotiation.
///
/// ```
/// use tokensmith_api::media::{ALL, is_produced};
///
/// assert!(is_produced("text/html, */*;q=0.1", &ALL) && is_produced("", &ALL));
/// assert!(is_produced("application/json;as=Table", &ALL));
/// assert!(!is_produced("application/*", &ALL) && !is_produced("Application/JSON", &ALL));
/// ```
pub fn is_produced(header: &str, produced: &[&str]) -> bool {
    let named = |name: &str| name == "*/*" || produced.contains(&name);
    header.is_empty() || header.split(',').any(|clause| named(clause.split(';').next().unwrap_or("").trim()))
}

impl Media {
    /// The type's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Media::Json => "application/json",
            Media::Protobuf => "application/vnd.kubernetes.protobuf",
            Media::Yaml => "application/yaml",
        }
    }

    /// The representation that a `Content-Type` names; JSON when there is none. Parameters do not matter.
    pub fn of_content_type(header: Option<&str>) -> Option<Media> {
        match header.map(|h| h.split(';').next().unwrap_or("").trim()) {
            None | Some("") => Some(Media::Json),
            Some(name) => Media::of_name(name),
        }
    }

    fn of_name(name: &str) -> Option<Media> {
        [Media::Json, Media::Yaml, Media::Protobuf]
            .into_iter()
            .find(|m| m.as_str().eq_ignore_ascii_case(name))
    }
}

/// What a client wants an object converted to: `;as=Table;v=v1;g=meta.k8s.io`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct As {
    /// E.g. `Table`.
    pub kind: String,
    /// E.g. `meta.k8s.io`.
    pub group: String,
    /// E.g. `v1`.
    pub version: String,
}

/// The clause of an `Accept` header that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// In which representation.
    pub media: Media,
    /// Converted to what.
    pub convert: Option<As>,
    /// `pretty=1` as a parameter.
    pub pretty: bool,
}

/// Picks the first clause that can be served; `convertible` says which conversions this endpoint knows.
/// `None` is a 406. A missing header takes JSON.
pub fn negotiate(header: Option<&str>, convertible: impl Fn(&As) -> bool) -> Option<Accepted> {
    let plain = Accepted { media: Media::Json, convert: None, pretty: false };
    let Some(header) = header.filter(|h| !h.trim().is_empty()) else { return Some(plain) };
    ranked(header).iter().find_map(|clause| {
        let media = match (clause.name.0.as_str(), clause.name.1.as_str()) {
            ("*" | "application", "*") => Media::Json,
            // In those very letters.
            (first, second) => Media::of_name(&format!("{first}/{second}"))
                .filter(|media| media.as_str().split_once('/') == Some((first, second)))?,
        };
        let pretty = clause.get("pretty").is_some_and(|v| v == "1");
        // A stream of another schema, or another server's version of the answer.
        let given = |key| clause.get(key).filter(|value| !value.is_empty());
        let streams = media != Media::Yaml;
        if given("stream").is_some_and(|stream| stream != "watch" || !streams)
            || given("sv").is_some_and(|version| version != "v1")
        {
            return None;
        }
        let convert = match ["as", "g", "v"].iter().any(|key| clause.get(key).is_some()) {
            false => None,
            true => {
                let text = |key| clause.get(key).unwrap_or_default().to_owned();
                let wanted = As { kind: text("as"), group: text("g"), version: text("v") };
                // Tables have no numbers for their fields.
                let fits = media != Media::Protobuf || wanted.kind != "Table";
                Some(wanted).filter(|w| fits && convertible(w)).map(Some)?
            }
        };
        Some(Accepted { media, convert, pretty })
    })
}

/// The type among those that are produced which an `Accept` header wants most (`goautoneg`): a missing header takes the first.
///
/// ```
/// use tokensmith_api::media::prefer;
///
/// let produced = ["application/json", "application/x.v1+protobuf"];
/// assert_eq!(prefer("application/x.v1+protobuf, */*;q=0.1", &produced), Some(produced[1]));
/// assert_eq!(prefer("", &produced), Some(produced[0]));
/// assert_eq!(prefer("text/html", &produced), None);
/// ```
pub fn prefer<'a>(header: &str, produced: &[&'a str]) -> Option<&'a str> {
    let header = if header.trim().is_empty() { "*/*" } else { header };
    let takes = |clause: &Clause, name: &str| {
        let Some((first, second)) = name.split_once('/') else { return false };
        match (clause.name.0.as_str(), clause.name.1.as_str()) {
            ("*", "*") => true,
            (wanted, "*") => wanted == first,
            wanted => wanted == (first, second),
        }
    };
    ranked(header).iter().find_map(|clause| produced.iter().find(|name| takes(clause, name)).copied())
}

/// The clauses of an `Accept` header, the most wanted first, as `goautoneg` ranks them: by weight, and before a wildcard what
/// is named, even if that weighs less and stands behind it. A weight of zero refuses nothing.
fn ranked(header: &str) -> Vec<Clause> {
    let mut clauses: Vec<Clause> = header.split(',').filter_map(Clause::parse).collect();
    let named = |clause: &Clause| (clause.name.0 != "*", clause.name.1 != "*");
    if clauses.len() > GO_INSERTS {
        clauses.sort_by_cached_key(|clause| {
            let (first, second) = named(clause);
            (std::cmp::Reverse((clause.quality * 1e6) as i64), !first, !second)
        });
        return clauses;
    }
    // Two clauses can each rank before the other: then it counts how Go's sort goes through so few of them.
    let before = |a: &Clause, b: &Clause| {
        let (a_named, b_named) = (named(a), named(b));
        a.quality > b.quality || (a_named.0 && !b_named.0) || (a_named.1 && !b_named.1)
    };
    for from in 1..clauses.len() {
        let mut at = from;
        while at > 0 && before(&clauses[at], &clauses[at - 1]) {
            clauses.swap(at, at - 1);
            at -= 1;
        }
    }
    clauses
}

/// So few items Go's `sort.Sort` inserts one after the other.
const GO_INSERTS: usize = 12;

/// How much an `Accept` header wants a type that it names itself; `None` where it does not, or not at all.
pub fn weigh(header: &str, name: &str) -> Option<f64> {
    let is_named = |clause: &Clause| {
        name.split_once('/').is_some_and(|(first, second)| {
            clause.name.0.eq_ignore_ascii_case(first) && clause.name.1.eq_ignore_ascii_case(second)
        })
    };
    let named = header.split(',').filter_map(Clause::parse).filter(is_named);
    named.map(|clause| clause.quality).filter(|quality| *quality > 0.0).max_by(f64::total_cmp)
}

struct Clause {
    name: (String, String),
    quality: f64,
    parameters: Vec<(String, String)>,
}

impl Clause {
    /// `None` where it names no type.
    fn parse(text: &str) -> Option<Clause> {
        let mut parts = text.split(';');
        let name = parts.next().unwrap_or("");
        let (first, second) = match name.split_once('/') {
            Some((_, second)) if second.is_empty() || second.contains('/') => return None,
            Some(both) => both,
            None if name.trim_matches(' ') == "*" => ("*", "*"),
            None => return None,
        };
        let name = (first.trim_matches(' ').to_owned(), second.trim_matches(' ').to_owned());
        let (mut quality, mut parameters) = (1.0, Vec::new());
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim_matches(' ') {
                _ if value.is_empty() || value.contains('=') => {}
                "q" => quality = value.parse().unwrap_or(0.0),
                key => parameters.push((key.to_owned(), value.trim_matches(' ').to_owned())),
            }
        }
        Some(Clause { name, quality, parameters })
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(w: &As) -> bool {
        w.kind == "Table" && w.version == "v1"
    }

    #[test]
    fn the_first_clause_that_can_be_served_wins() {
        let media = |h| negotiate(h, table).map(|a| (a.media, a.convert.is_some()));
        assert_eq!(media(None), Some((Media::Json, false)));
        assert_eq!(
            media(Some("application/vnd.kubernetes.protobuf,application/json")),
            Some((Media::Protobuf, false))
        );
        assert_eq!(media(Some("text/html, */*;q=0.1")), Some((Media::Json, false)));
        assert_eq!(media(Some("text/html")), None);
        assert_eq!(media(Some("*/*;q=0")), Some((Media::Json, false)));
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(media(Some(kubectl)), Some((Media::Json, true)));
        assert_eq!(negotiate(Some(kubectl), |_| false).map(|a| a.convert), Some(None));
        assert_eq!(media(Some("application/json;as=Table;v=v1beta1;g=meta.k8s.io")), None);
    }

    #[test]
    fn what_is_named_ranks_before_wildcards_as_goautoneg_has_it() {
        // As kube-apiserver 1.36 answers at /openapi/v2.
        let other = "application/x.v1+protobuf";
        let produced = ["application/json", other];
        for (header, want) in [
            ("application/x.v1+protobuf, */*", Some(other)),
            ("*/*, application/x.v1+protobuf", Some(other)),
            ("application/*, application/x.v1+protobuf", Some(other)),
            ("*/*, application/x.v1+protobuf;q=0.1", Some(other)),
            ("application/x.v1+protobuf;q=0.1, */*", Some(produced[0])),
            ("*/*;q=0, application/x.v1+protobuf;q=0", Some(other)),
            ("application/json;q=0", Some(produced[0])),
            ("*", Some(produced[0])),
            ("Application/JSON", None),
            ("text/html,", None),
            (", ,", None),
        ] {
            assert_eq!(prefer(header, &produced), want, "{header}");
        }
        // And at /api/v1/namespaces.
        for (header, want) in [
            ("*/*, application/yaml", Media::Yaml),
            ("*/*, application/yaml;q=0.1", Media::Yaml),
            ("application/yaml;q=0.1, */*", Media::Json),
            ("application/json;q=0.5,application/yaml", Media::Yaml),
            ("application/yaml;q=0", Media::Yaml),
            ("application/YAML,*/*", Media::Json),
            ("application/json;q=x, application/yaml;q=0.1", Media::Yaml),
        ] {
            assert_eq!(negotiate(Some(header), table).map(|a| a.media), Some(want), "{header}");
        }
        let many = vec!["text/a"; 40].join(",") + ",*/*,application/yaml;q=0.5,application/yaml";
        assert_eq!(negotiate(Some(&many), table).map(|a| a.media), Some(Media::Yaml));
    }

    #[test]
    fn a_group_or_a_version_alone_is_a_conversion_that_nobody_knows() {
        let media = |h: &str| negotiate(Some(h), table).map(|a| a.media);
        for unknown in ["g=meta.k8s.io", "v=v1", "g=nonsense;v=v9", "as=Table;g=x;v=v2", "stream=x", "sv=v2"]
        {
            assert_eq!(media(&format!("application/json;{unknown}")), None, "{unknown}");
            assert_eq!(media(&format!("application/json;{unknown},application/yaml")), Some(Media::Yaml));
        }
        for known in ["stream=watch", "sv=v1", "pretty=1", "whatever=1", "stream=", "as=Table;v=v1"] {
            assert_eq!(media(&format!("application/json;{known}")), Some(Media::Json), "{known}");
        }
        assert_eq!(media("application/vnd.kubernetes.protobuf;as=Table;v=v1"), None);
        let pretty = |value: &str| {
            let header = format!("application/json;pretty={value}");
            negotiate(Some(&header), table).map(|a| a.pretty)
        };
        assert_eq!((pretty("1"), pretty("true")), (Some(true), Some(false)));
    }

    #[test]
    fn content_types() {
        assert_eq!(Media::of_content_type(None), Some(Media::Json));
        assert_eq!(Media::of_content_type(Some("application/yaml; charset=utf-8")), Some(Media::Yaml));
        assert_eq!(Media::of_content_type(Some("text/plain")), None);
    }
}
