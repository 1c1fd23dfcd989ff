//! What `project --once` has done.

use std::collections::BTreeSet;
use std::path::Path;

use time::OffsetDateTime;
use tokensmith_agent::projector::VolumeSummary;
use tokensmith_core::Moment;
use tokensmith_objects::object::timestamp;

use crate::output::{columns, printable};
use crate::times;

/// A row for each volume, what was left out, and all of it in one line.
pub fn text(volumes: &[VolumeSummary], left_out: &[String], root: &Path, now: OffsetDateTime) -> String {
    let rows: Vec<Vec<String>> = volumes.iter().map(|volume| row(volume, root, now)).collect();
    let mut text = match rows.is_empty() {
        true => String::new(),
        false => columns(&["POD", "VOLUME", "FILES", "TOKENS", "NEXT REFRESH", "PATH"], &rows),
    };
    for line in left_out {
        text.push_str(&printable(line));
        text.push('\n');
    }
    let pods: BTreeSet<_> = volumes.iter().map(|volume| &volume.pod).collect();
    let tokens: usize = volumes.iter().map(|volume| volume.tokens).fold(0, usize::saturating_add);
    let (volumes_of, pods, tokens) =
        (count(volumes.len(), "volume"), count(pods.len(), "pod"), count(tokens, "token"));
    text.push_str(&format!("{volumes_of} of {pods} with {tokens} below {}", root.display()));
    if !left_out.is_empty() {
        text.push_str(&format!("; {} left out", left_out.len()));
    }
    let next = volumes.iter().filter_map(|volume| volume.refresh_at).min();
    match next {
        Some(at) => text.push_str(&format!(
            "; the next refresh is due {} ({}): run this again by then, or without --once\n",
            times::distance(at.since(now)),
            timestamp(at)
        )),
        None => text.push('\n'),
    }
    text
}

fn row(volume: &VolumeSummary, root: &Path, now: OffsetDateTime) -> Vec<String> {
    let at = &volume.pod;
    let path = root.join(&at.namespace).join(&at.name).join("volumes").join(&volume.volume);
    vec![
        at.to_string(),
        volume.volume.clone(),
        files(&path, volume.files).to_string(),
        volume.tokens.to_string(),
        volume.refresh_at.map_or("-".into(), |at| times::distance(at.since(now))),
        path.display().to_string(),
    ]
}

/// What is there, of a volume that was found to be right and not looked into.
fn files(path: &Path, known: Option<usize>) -> usize {
    known.unwrap_or_else(|| std::fs::read_link(path.join("..data")).map_or(0, |data| below(&path.join(data))))
}

fn below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let one = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => below(&entry.path()),
        _ => 1,
    };
    entries.map(one).fold(0, usize::saturating_add)
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use tokensmith_agent::projector::PodName;

    use super::*;

    #[test]
    fn paths_counts_and_the_next_refresh() {
        let now = datetime!(2026-01-01 10:00 UTC);
        let volume = |name: &str, tokens, refresh_at| VolumeSummary {
            pod: PodName { namespace: "n".into(), name: "a".into() },
            volume: name.into(),
            files: Some(3),
            tokens,
            refresh_at,
        };
        let later = Some(datetime!(2026-01-01 10:48 UTC));
        let volumes = [volume("ca", 0, None), volume("tokens", 2, later)];
        let left = ["a.yaml:9: Role n/r is left out: no volume is made of it".to_owned()];
        assert_eq!(
            text(&volumes, &left, Path::new("/r"), now),
            "POD   VOLUME   FILES   TOKENS   NEXT REFRESH   PATH\n\
             n/a   ca       3       0        -              /r/n/a/volumes/ca\n\
             n/a   tokens   3       2        in 48m         /r/n/a/volumes/tokens\n\
             a.yaml:9: Role n/r is left out: no volume is made of it\n\
             2 volumes of 1 pod with 2 tokens below /r; 1 left out; the next refresh is due in 48m \
             (2026-01-01T10:48:00Z): run this again by then, or without --once\n"
        );
        assert_eq!(text(&[], &[], Path::new("/r"), now), "0 volumes of 0 pods with 0 tokens below /r\n");
    }
}
