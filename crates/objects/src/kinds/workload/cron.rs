//! Schedules as cron has them (`robfig/cron`'s standard parser, whose words are told to clients).

use std::collections::HashSet;
use std::sync::LazyLock;

use tokensmith_api::duration::GoDuration;

/// A field: its least and its greatest number, and the names of numbers from the least on.
type Bounds = (u64, u64, &'static [&'static str]);

const FIELDS: [Bounds; 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// Why a schedule is none.
pub(super) fn schedule(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("empty spec string".into());
    }
    let mut rest = text;
    if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
        let (zone, after) = text.split_once(' ').unwrap_or((text, ""));
        let zone = zone.split_once('=').map_or("", |(_, zone)| zone);
        self::zone(zone).map_err(|cause| format!("provided bad location {zone}: {cause}"))?;
        rest = after.trim();
    }
    if rest.starts_with('@') {
        return descriptor(rest);
    }
    let fields: Vec<_> = rest.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let found = fields.join(" ");
        return Err(format!("expected exactly {} fields, found {}: [{found}]", FIELDS.len(), fields.len()));
    }
    fields.iter().zip(FIELDS).try_for_each(|(field, bounds)| {
        field.split(',').filter(|part| !part.is_empty()).try_for_each(|part| range(part, bounds))
    })
}

fn descriptor(text: &str) -> Result<(), String> {
    match text {
        "@yearly" | "@annually" | "@monthly" | "@weekly" | "@daily" | "@midnight" | "@hourly" => Ok(()),
        _ => match text.strip_prefix("@every ") {
            Some(every) => match every.parse::<GoDuration>() {
                Ok(_) => Ok(()),
                Err(cause) => Err(format!("failed to parse duration {text}: {cause}")),
            },
            None => Err(format!("unrecognized descriptor: {text}")),
        },
    }
}

/// `NUMBER | NUMBER-NUMBER [ /NUMBER ]`, or a star.
fn range(text: &str, (least, most, names): Bounds) -> Result<(), String> {
    let steps: Vec<_> = text.split('/').collect();
    let ends: Vec<_> = steps[0].split('-').collect();
    let single = ends.len() == 1;
    let (start, mut end) = match ends[0] {
        "*" | "?" => (least, most),
        first => {
            let start = number(first, least, names)?;
            match ends[..] {
                [_] => (start, start),
                [_, last] => (start, number(last, least, names)?),
                _ => return Err(format!("too many hyphens: {text}")),
            }
        }
    };
    let step = match steps[..] {
        [_] => 1,
        [_, step] => {
            // From there on to the end.
            if single {
                end = most;
            }
            number(step, 0, &[])?
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    match () {
        () if start < least => Err(format!("beginning of range ({start}) below minimum ({least}): {text}")),
        () if end > most => Err(format!("end of range ({end}) above maximum ({most}): {text}")),
        () if start > end => Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}")),
        () if step == 0 => Err(format!("step of range should be a positive number: {text}")),
        () => Ok(()),
    }
}

fn number(text: &str, least: u64, names: &[&str]) -> Result<u64, String> {
    if let Some(at) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        return Ok(least.saturating_add(at as u64));
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let cause = format!("strconv.Atoi: parsing {}: invalid syntax", crate::field::go_quote(text));
        return Err(format!("failed to parse int from {text}: {cause}"));
    }
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(number.unsigned_abs()),
        Err(_) => {
            let cause = format!("strconv.Atoi: parsing {}: value out of range", crate::field::go_quote(text));
            Err(format!("failed to parse int from {text}: {cause}"))
        }
    }
}

/// Why a time zone is none (`time.LoadLocation`).
pub(super) fn zone(name: &str) -> Result<(), String> {
    static ZONES: LazyLock<HashSet<&str>> =
        LazyLock::new(|| include_str!("../../../schema/time-zones.txt").lines().collect());
    // Go has names of its own for these three.
    match matches!(name, "" | "Local" | "UTC") || ZONES.contains(name) {
        true => Ok(()),
        false => Err(format!("unknown time zone {name}")),
    }
}
