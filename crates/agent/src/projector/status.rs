//! What `tokensmith project status` tells: from the states on disk alone, without the lock, and judged by the clock. An
//! agent that is dead writes no alarms; its tokens still grow old.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use time::OffsetDateTime;
use tokensmith_core::Moment;

use super::checks_file::{ChecksFile, SeenReviews};
use super::ids::PodName;
use super::state::{Grant, State, StateError, TokenState, VolumeState};
use super::token::GRACE;
use crate::disk::{CHECKS, STATE};
use crate::refresh::{FIRST_TOKEN_ALARM, Failure};

/// All pods of a root.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// When it was judged.
    #[serde(with = "time::serde::rfc3339")]
    pub now: OffsetDateTime,
    /// What the agent has seen of the issuer's key set and of reviews.
    pub checks: ChecksFile,
    /// In the order of their names.
    pub pods: Vec<PodStatus>,
    /// What needs someone; empty if all is well.
    pub alarms: Vec<Alarm>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When its state was written last.
    #[serde(with = "time::serde::rfc3339::option")]
    pub updated: Option<OffsetDateTime>,
    /// Why its state cannot be read.
    pub error: Option<String>,
    /// In the order of their names.
    pub volumes: Vec<VolumeStatus>,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// Its name.
    pub name: String,
    /// Whether it is there, whole.
    pub written: bool,
    /// Why it is not as it should be.
    pub failure: Option<Failure>,
    /// In the order of their paths.
    pub tokens: Vec<TokenStatus>,
}

/// A token file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// Its path in the volume.
    pub path: String,
    /// `None` is the API server.
    pub audience: Option<String>,
    /// The file of the volume with the token that this one was exchanged for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchanged_from: Option<String>,
    /// How it stands.
    pub condition: Condition,
    /// When its token expires.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// In how many seconds; negative: so long ago.
    pub expires_in_seconds: Option<i64>,
    /// When it is to be replaced.
    #[serde(with = "time::serde::rfc3339::option")]
    pub refresh_at: Option<OffsetDateTime>,
    /// Why it has not been.
    pub failure: Option<Failure>,
    /// When it was last seen that it is not refused: that its key is in the issuer's key set, or that the API server takes it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub checked: Option<OffsetDateTime>,
    /// Why it is refused, or why nobody knows.
    pub cause: Option<String>,
}

/// How a token file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It should have been replaced.
    Due,
    /// Its token is of no use any more.
    Expired,
    /// All is well: it is not due, and it was seen a moment ago that it is not refused.
    Fresh,
    /// There is none.
    Missing,
    /// Its key is gone, or the API server does not take it any more.
    Refused,
    /// It is not due, and nobody knows whether it is refused.
    Unchecked,
}

/// What was seen longer ago says nothing of now. The agent writes down twice a minute what it sees.
const CHECKED: time::Duration = time::Duration::minutes(3);

/// How long a token that may be reviewed counts as known while its key is published. `None` where none may be: then its key
/// is all that there is to look at. A token of the middle of a round is reviewed in the next one.
fn reviewed_within(reviews: &SeenReviews) -> Option<time::Duration> {
    reviews.at?;
    // What is written down may be a minute older than what was seen.
    let rounds =
        i64::try_from(reviews.round_seconds).unwrap_or(i64::MAX).saturating_mul(2).saturating_add(60);
    Some(time::Duration::seconds(rounds).max(CHECKED))
}

/// Something that needs someone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alarm {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod; empty: it is about the manifests, or the server.
    pub pod: String,
    /// The volume; `None`: the pod itself.
    pub volume: Option<String>,
    /// The file; `None`: the volume itself.
    pub path: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// A root that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct StatusError {
    /// Which folder.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub cause: io::Error,
}

/// More is no state.
const MAX_STATE: u64 = 16 << 20;

impl Status {
    /// Reads and judges all states below a root.
    ///
    /// # Errors
    /// A folder that cannot be listed, or a root that is not there: whoever watches the wrong place must not hear that all is
    /// well. A state that cannot be read is an alarm.
    pub fn read(root: &Path, now: OffsetDateTime) -> Result<Self, StatusError> {
        fs::metadata(root).map_err(|cause| StatusError { path: root.into(), cause })?;
        let mut status = Status { now, checks: read_checks(root), pods: Vec::new(), alarms: Vec::new() };
        // Of the root as a whole: no pod is named.
        status.alarms.extend(status.checks.manifest.clone().map(|message| Alarm {
            namespace: String::new(),
            pod: String::new(),
            volume: None,
            path: None,
            message,
        }));
        for (namespace, folder) in folders(root)? {
            for (name, folder) in folders(&folder)? {
                let pod = PodName { namespace: namespace.clone(), name };
                match read_state(&folder.join(STATE)) {
                    Ok(Some(state)) => status.judge(&pod, &state),
                    Ok(None) => {}
                    Err(cause) => status.unreadable(pod, cause.to_string()),
                }
            }
        }
        Ok(status)
    }

    fn judge(&mut self, pod: &PodName, state: &State) {
        let now = self.now;
        let mut volumes = Vec::new();
        for (name, volume) in &state.volumes {
            let checks = &self.checks;
            let tokens = volume
                .tokens
                .iter()
                .map(|(path, token)| TokenStatus::new(path, token, &volume.tokens, checks, now))
                .collect();
            volumes.push(VolumeStatus {
                name: name.clone(),
                written: volume.written,
                failure: volume.failure.clone(),
                tokens,
            });
            self.alarms.extend(volume_alarm(volume, now).map(|message| Alarm {
                namespace: pod.namespace.clone(),
                pod: pod.name.clone(),
                volume: Some(name.clone()),
                path: None,
                message,
            }));
            let tokens = volume.tokens.iter();
            self.alarms.extend(tokens.filter_map(|(path, token)| {
                Some(Alarm {
                    namespace: pod.namespace.clone(),
                    pod: pod.name.clone(),
                    volume: Some(name.clone()),
                    path: Some(path.clone()),
                    message: token_alarm(token, &volume.tokens, &self.checks, now)?,
                })
            }));
        }
        self.pods.push(PodStatus {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: state.pod_uid.clone(),
            updated: Some(state.updated),
            error: None,
            volumes,
        });
    }

    fn unreadable(&mut self, pod: PodName, cause: String) {
        let PodName { namespace, name } = pod;
        let message = format!("state.json: {cause}");
        self.alarms.push(Alarm {
            namespace: namespace.clone(),
            pod: name.clone(),
            volume: None,
            path: None,
            message: message.clone(),
        });
        let (uid, volumes) = (String::new(), Vec::new());
        self.pods.push(PodStatus { namespace, name, uid, updated: None, error: Some(message), volumes });
    }
}

impl TokenStatus {
    fn new(
        path: &str,
        token: &TokenState,
        others: &BTreeMap<String, TokenState>,
        checks: &ChecksFile,
        now: OffsetDateTime,
    ) -> Self {
        let grant = token.token.as_ref();
        let seen = grant.map(|grant| Seen::of(token, grant, others, checks, now));
        let condition = match (grant, &seen) {
            (None, _) | (_, None) => Condition::Missing,
            (Some(grant), _) if now >= grant.expires_at => Condition::Expired,
            (_, Some(Seen::Refused { .. })) => Condition::Refused,
            (Some(grant), _) if now >= grant.due => Condition::Due,
            (_, Some(Seen::Good(_))) => Condition::Fresh,
            (_, Some(Seen::Unknown(_))) => Condition::Unchecked,
        };
        let (checked, cause) = match seen {
            Some(Seen::Good(at)) => (at, None),
            Some(Seen::Refused { why, .. } | Seen::Unknown(why)) => (None, Some(why)),
            None => (None, None),
        };
        TokenStatus {
            path: path.into(),
            audience: token.audience.clone(),
            exchanged_from: token.exchange.as_ref().map(|exchange| exchange.from.clone()),
            condition,
            expires_at: grant.map(|g| g.expires_at),
            expires_in_seconds: grant.map(|g| g.expires_at.since(now).whole_seconds()),
            refresh_at: grant.map(|g| g.due),
            failure: token.failure.clone(),
            checked,
            cause,
        }
    }
}

/// What is known of a token before its time is over.
enum Seen {
    /// It was not refused then; `None` where nothing could refuse it.
    Good(Option<OffsetDateTime>),
    /// It is refused, since then at least.
    Refused { since: OffsetDateTime, why: String },
    /// Why nobody knows.
    Unknown(String),
}

impl Seen {
    /// `others` are the volume's tokens.
    fn of(
        token: &TokenState,
        grant: &Grant,
        others: &BTreeMap<String, TokenState>,
        checks: &ChecksFile,
        now: OffsetDateTime,
    ) -> Self {
        let Some(exchange) = &token.exchange else { return Seen::of_own(token, grant, checks, now) };
        let subject = others.get(&exchange.from).filter(|subject| subject.exchange.is_none());
        let given = subject.and_then(|subject| Some((subject, subject.token.as_ref()?)));
        match given.map(|(subject, grant)| Seen::of_own(subject, grant, checks, now)) {
            Some(Seen::Refused { why, .. }) => {
                Seen::Unknown(format!("the token that it was exchanged for is refused: {why}"))
            }
            Some(seen) => seen,
            None => Seen::Unknown("the token that it was exchanged for is not there".into()),
        }
    }

    /// Of one that the API server has issued.
    fn of_own(token: &TokenState, grant: &Grant, checks: &ChecksFile, now: OffsetDateTime) -> Self {
        if let Some(refused) = token.refused.as_ref().filter(|refused| refused.sha256 == grant.sha256) {
            return Seen::Refused { since: refused.since, why: refused.why.clone() };
        }
        let keys = &checks.keys;
        let kid = grant.kid.as_deref();
        // Its issue was the server's word as well. Where the server may be asked, its key alone does not speak for a token: that
        // one may be revoked.
        let heard = token.reviewed.map_or(grant.issued_at, |at| at.max(grant.issued_at));
        let unheard = reviewed_within(&checks.reviews).is_some_and(|limit| now.since(heard).abs() > limit);
        // The server has no keys to look at.
        if keys.none && !unheard {
            return Seen::Good(None);
        }
        let recent = |at: Option<OffsetDateTime>| at.filter(|at| now.since(*at).abs() <= CHECKED);
        let in_set = kid.filter(|kid| !kid.is_empty()).map(|kid| keys.kids.contains(kid));
        if let (Some(false), Some(at)) = (in_set, keys.at)
            && grant.issued_at.plus(time::Duration::seconds(2)) < at
        {
            let kid = kid.unwrap_or_default();
            let why = format!("the key {kid:?} that signed it is no longer in the issuer's key set");
            return Seen::Refused { since: at, why };
        }
        let by_key = recent(keys.at).filter(|_| in_set == Some(true) && !unheard);
        let by_review = recent(token.reviewed);
        if let Some(at) = by_key.max(by_review) {
            return Seen::Good(Some(at));
        }
        if unheard && (keys.none || recent(keys.at).is_some()) {
            let since = span(now.since(heard).whole_seconds());
            return Seen::Unknown(format!("the API server has not been asked about the token for {since}"));
        }
        Seen::Unknown(match (&keys.error, keys.at, in_set) {
            (Some(error), _, _) => format!("the issuer's key set cannot be read: {error}"),
            (_, None, _) => "no agent has looked at the issuer's key set".into(),
            (_, Some(at), _) if recent(Some(at)).is_none() => {
                format!(
                    "nobody has looked at the issuer's key set for {}",
                    span(now.since(at).whole_seconds())
                )
            }
            (_, _, None) => "the token names no key".into(),
            _ => "the issuer's key set has not been looked at since it was issued".into(),
        })
    }
}

fn volume_alarm(volume: &VolumeState, now: OffsetDateTime) -> Option<String> {
    let failure = volume.failure.as_ref().filter(|_| !volume.written)?;
    (now.since(failure.since) >= FIRST_TOKEN_ALARM).then(|| failure.message.clone())
}

fn token_alarm(
    token: &TokenState,
    others: &BTreeMap<String, TokenState>,
    checks: &ChecksFile,
    now: OffsetDateTime,
) -> Option<String> {
    let grant = token.token.as_ref()?;
    // An agent that is alive replaces it within seconds.
    if let Seen::Refused { since, why } = Seen::of(token, grant, others, checks, now)
        && now.since(since) >= GRACE
        && now < grant.expires_at
    {
        let cause = token.failure.as_ref().map_or("nobody replaces it", |f| &f.message);
        return Some(format!("the token is refused, {why}: {cause}"));
    }
    if !token.alarm && now < grant.alarm_at {
        return None;
    }
    let cause = token.failure.as_ref().map_or("nobody refreshes it", |f| &f.message);
    let left = grant.expires_at.since(now).whole_seconds();
    Some(match left {
        1.. => format!("expires in {}: {cause}", span(left)),
        _ => format!("token expired {} ago and refresh failed: {cause}", span(-left)),
    })
}

/// The folders of a folder, in the order of their names. No link is followed: it would lead out of the root.
fn folders(path: &Path) -> Result<Vec<(String, PathBuf)>, StatusError> {
    let failed = |cause| StatusError { path: path.into(), cause };
    let mut out = Vec::new();
    let entries = match fs::read_dir(path) {
        // A pod that goes while it is looked at.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(Path::exists) => {
            return Ok(out);
        }
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(name) = entry.file_name().into_string()
        {
            out.push((name, entry.path()));
        }
    }
    out.sort();
    Ok(out)
}

/// What the agent has seen; nothing, if that cannot be read.
fn read_checks(root: &Path) -> ChecksFile {
    let path = root.join(CHECKS);
    let file = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_STATE);
    let bytes = file.then(|| fs::read(&path).ok()).flatten();
    bytes.map(|bytes| ChecksFile::read(&bytes)).unwrap_or_default()
}

/// Why a state cannot be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is no file")]
    NotAFile,
    #[error(transparent)]
    State(#[from] StateError),
    #[error("it is too large")]
    TooLarge,
}

/// A pod's state; `None` if there is none.
fn read_state(path: &Path) -> Result<Option<State>, ReadError> {
    let read = || {
        let meta = fs::symlink_metadata(path)?;
        if !meta.is_file() {
            return Err(ReadError::NotAFile);
        }
        if meta.len() > MAX_STATE {
            return Err(ReadError::TooLarge);
        }
        Ok(State::read(&fs::read(path)?)?)
    };
    match read() {
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        state => state.map(Some),
    }
}

/// A length of time as people say it: two units at most.
fn span(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, m) => format!("{m}m{}s", seconds % 60),
        (0, h, m) => format!("{h}h{m}m"),
        (d, h, _) => format!("{d}d{h}h"),
    }
}

impl fmt::Display for Status {
    /// A table of all token files, then what is wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![
            ["NAMESPACE", "POD", "VOLUME", "PATH", "AUDIENCE", "STATUS", "EXPIRES", "REFRESH", "CHECKED"]
                .map(String::from),
        ];
        for pod in &self.pods {
            for volume in &pod.volumes {
                for token in &volume.tokens {
                    rows.push([
                        pod.namespace.clone(),
                        pod.name.clone(),
                        volume.name.clone(),
                        match &token.exchanged_from {
                            Some(from) => format!("{} (for {from})", token.path),
                            None => token.path.clone(),
                        },
                        token.audience.clone().unwrap_or_else(|| "-".into()),
                        format!("{:?}", token.condition),
                        self.relative(token.expires_at),
                        self.relative(token.refresh_at),
                        match &token.cause {
                            Some(cause) => cause.clone(),
                            None => token.checked.map_or("-".into(), |at| {
                                format!("{} ago", span(self.now.since(at).whole_seconds().max(0)))
                            }),
                        },
                    ]);
                }
            }
        }
        let widths: Vec<_> = (0..rows[0].len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        for row in &rows {
            let mut line = String::new();
            for (text, width) in row.iter().zip(&widths) {
                write!(line, "{text:width$}   ", width = *width)?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        for volume in self.pods.iter().flat_map(|pod| pod.volumes.iter().map(move |v| (pod, v))) {
            if let (pod, VolumeStatus { failure: Some(failure), .. }) = volume {
                writeln!(f, "{}/{}: {}", pod.namespace, pod.name, failure.message)?;
            }
        }
        for alarm in &self.alarms {
            writeln!(f, "ALARM {alarm}")?;
        }
        Ok(())
    }
}

impl Status {
    fn relative(&self, at: Option<OffsetDateTime>) -> String {
        let Some(at) = at else { return "-".into() };
        match at.since(self.now).whole_seconds() {
            left @ 0.. => format!("in {}", span(left)),
            past => format!("{} ago", span(-past)),
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pod.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}/{}", self.namespace, self.pod)?;
        for part in self.volume.iter().chain(&self.path) {
            write!(f, "/{part}")?;
        }
        write!(f, ": {}", self.message)
    }
}
