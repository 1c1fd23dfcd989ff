//! The parameters of requests.

/// A parameter by its name; in the path or in the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) in_path: bool,
}

impl Parameter {
    pub(super) fn path(name: &'static str) -> Parameter {
        Parameter { name, in_path: true }
    }

    pub(super) fn query(name: &'static str) -> Parameter {
        Parameter { name, in_path: false }
    }

    /// Its JSON type. go-restful knows no lists.
    pub(super) fn of(self) -> &'static str {
        match self.name {
            "allowWatchBookmarks"
            | "follow"
            | "force"
            | "ignoreStoreReadErrorWithClusterBreakingPotential"
            | "insecureSkipTLSVerifyBackend"
            | "orphanDependents"
            | "previous"
            | "sendInitialEvents"
            | "stderr"
            | "stdin"
            | "stdout"
            | "timestamps"
            | "tty"
            | "watch" => "boolean",
            "gracePeriodSeconds" | "limit" | "limitBytes" | "ports" | "sinceSeconds" | "tailLines"
            | "timeoutSeconds" => "integer",
            _ => "string",
        }
    }
}

pub(super) const LIST: [&str; 11] = [
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
    "watch",
];

pub(super) const DELETE: [&str; 5] = [
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];

/// Of a collection: what selects, and what deletes; nobody watches it.
pub(super) const DELETE_COLLECTION: [&str; 14] = [
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
];

pub(super) const WRITE: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];

pub(super) const PATCH: [&str; 4] = ["dryRun", "fieldManager", "fieldValidation", "force"];

/// What a connection to a container, or its log, takes, by the subresource's name.
pub(super) fn connecting(subresource: &str) -> &'static [&'static str] {
    match subresource {
        "attach" => &["container", "stderr", "stdin", "stdout", "tty"],
        "exec" => &["command", "container", "stderr", "stdin", "stdout", "tty"],
        "log" => &[
            "container",
            "follow",
            "insecureSkipTLSVerifyBackend",
            "limitBytes",
            "pretty",
            "previous",
            "sinceSeconds",
            "stream",
            "tailLines",
            "timestamps",
        ],
        "portforward" => &["ports"],
        "proxy" => &["path"],
        _ => &[],
    }
}
