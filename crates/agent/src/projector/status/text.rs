//! A status as people read it.

use std::fmt::{self, Write as _};

use time::OffsetDateTime;
use tokensmith_api::duration::human;
use tokensmith_core::Moment;

use super::{Alarm, Status, VolumeStatus};

/// A length of time, whichever way it goes.
pub(super) fn span(seconds: i64) -> String {
    human(seconds.unsigned_abs())
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
            past => format!("{} ago", span(past)),
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
