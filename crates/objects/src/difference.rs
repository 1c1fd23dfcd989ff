//! What differs of two texts, line by line, as upstream's messages show it (apimachinery `util/diff`): the unified form, with the
//! matches that Python's difflib would find.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;

/// Unchanged lines that are shown around a change.
const CONTEXT: usize = 3;
/// From so many lines on, those that make up more than a hundredth of a text begin no match.
const MANY: usize = 200;
/// So many lines, and pairs of equal lines, are looked at: texts of many equal lines have the square of their length of them, and
/// each match has what lies on both sides of it looked through anew. What lies between the matches that were found by then
/// counts as changed.
const LOOKS: usize = 1 << 20;

/// Lines of the old text that became lines of the new one.
type Change = (Range<usize>, Range<usize>);

/// The unified difference without a head; empty where nothing differs.
pub(crate) fn unified(old: &str, new: &str) -> String {
    let mut known: HashMap<&str, usize> = HashMap::new();
    let [a, b] = [old, new].map(|text| text.split('\n').collect::<Vec<_>>());
    let [left, right] = [&a, &b].map(|lines| {
        let numbers = lines.iter().map(|line| {
            let next = known.len();
            *known.entry(*line).or_insert(next)
        });
        numbers.collect::<Vec<_>>()
    });
    let mut out = String::new();
    let mut changes = changes(&left, &right, known.len()).into_iter().peekable();
    while let Some(first) = changes.next() {
        let (mut end, mut hunk) = (first.0.end, vec![first]);
        while let Some(next) = changes.next_if(|(removed, _)| removed.start <= end + 2 * CONTEXT) {
            end = next.0.end;
            hunk.push(next);
        }
        show(&mut out, &hunk, &a, &b);
    }
    out
}

/// Changes that are near each other, with what is around them.
fn show(out: &mut String, hunk: &[Change], a: &[&str], b: &[&str]) {
    let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { return };
    let before = CONTEXT.min(first.0.start);
    let after = CONTEXT.min(a.len() - last.0.end);
    let (from, to) = (first.0.start - before, last.0.end + after);
    let lines = range(first.1.start - before, last.1.end + after);
    let _ = writeln!(out, "@@ -{} +{lines} @@", range(from, to));
    let mut put = |sign: char, lines: &[&str]| {
        for line in lines {
            let _ = writeln!(out, "{sign}{line}");
        }
    };
    let mut at = from;
    for (removed, added) in hunk {
        put(' ', &a[at..removed.start]);
        put('-', &a[removed.clone()]);
        put('+', &b[added.clone()]);
        at = removed.end;
    }
    put(' ', &a[at..to]);
}

/// Where lines begin, counted from one, and how many they are; none begin behind the line before them.
fn range(from: usize, to: usize) -> String {
    match to - from {
        0 => format!("{from},0"),
        1 => (from + 1).to_string(),
        many => format!("{},{many}", from + 1),
    }
}

/// What lies between the matches.
fn changes(a: &[usize], b: &[usize], kinds: usize) -> Vec<Change> {
    let mut places: Vec<Vec<usize>> = vec![Vec::new(); kinds];
    b.iter().enumerate().for_each(|(at, line)| places[*line].push(at));
    if b.len() >= MANY {
        places.iter_mut().filter(|at| at.len() > b.len() / 100 + 1).for_each(Vec::clear);
    }
    let (mut matches, mut left, mut looks) = (Vec::new(), vec![(0..a.len(), 0..b.len())], LOOKS);
    while let Some((x, y)) = left.pop() {
        let (i, j, size) = longest((a, x.clone()), (b, y.clone()), &places, &mut looks);
        if size > 0 {
            matches.push((i, j, size));
            left.push((x.start..i, y.start..j));
            left.push((i + size..x.end, j + size..y.end));
            left.retain(|(x, y)| !x.is_empty() && !y.is_empty());
        }
    }
    matches.sort_unstable();
    matches.push((a.len(), b.len(), 0));
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    for (x, y, size) in matches {
        if i < x || j < y {
            out.push((i..x, j..y));
        }
        (i, j) = (x + size, y + size);
    }
    out
}

/// The longest lines that are equal, the first ones of several: grown from lines that begin a match, then by whatever is equal
/// before and behind them.
fn longest(
    (a, x): (&[usize], Range<usize>),
    (b, y): (&[usize], Range<usize>),
    places: &[Vec<usize>],
    looks: &mut usize,
) -> (usize, usize, usize) {
    let (mut i, mut j, mut size) = (x.start, y.start, 0);
    let mut ending: HashMap<usize, usize> = HashMap::new();
    for at in x.clone() {
        if *looks == 0 {
            return (x.start, y.start, 0);
        }
        *looks -= 1;
        let mut next = HashMap::new();
        let all = &places[a[at]];
        let first = all.partition_point(|place| *place < y.start);
        for &place in all[first..].iter().take_while(|place| **place < y.end) {
            if *looks == 0 {
                return (x.start, y.start, 0);
            }
            *looks -= 1;
            let length = 1 + place.checked_sub(1).and_then(|before| ending.get(&before)).unwrap_or(&0);
            next.insert(place, length);
            if length > size {
                (i, j, size) = (at + 1 - length, place + 1 - length, length);
            }
        }
        ending = next;
    }
    while i > x.start && j > y.start && a[i - 1] == b[j - 1] {
        (i, j, size) = (i - 1, j - 1, size + 1);
    }
    while i + size < x.end && j + size < y.end && a[i + size] == b[j + size] {
        size += 1;
    }
    (i, j, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_matched_as_difflib_matches_them() {
        for (old, new, want) in [
            ("a\nb\nc", "a\nb\nc", ""),
            ("a", "b", "@@ -1 +1 @@\n-a\n+b\n"),
            ("a\nb", "a\nacab\nb", "@@ -1,2 +1,3 @@\n a\n+acab\n b\n"),
            ("1\n2\n3\n4\n5\n6", "1\n2\n3\n4\n5\nsix\n7", "@@ -3,4 +3,5 @@\n 3\n 4\n 5\n-6\n+six\n+7\n"),
            (
                "x\n1\n2\n3\n4\n5\n6\n7\ny",
                "X\n1\n2\n3\n4\n5\n6\n7\nY",
                "@@ -1,4 +1,4 @@\n-x\n+X\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-y\n+Y\n",
            ),
            (
                "x\n1\n2\n3\n4\n5\n6\ny",
                "X\n1\n2\n3\n4\n5\n6\nY",
                "@@ -1,8 +1,8 @@\n-x\n+X\n 1\n 2\n 3\n 4\n 5\n 6\n-y\n+Y\n",
            ),
        ] {
            assert_eq!(unified(old, new), want, "{old:?} {new:?}");
        }
    }

    /// What occurs everywhere begins no match in a long text, and much of it takes no longer for that.
    #[test]
    fn long_texts_of_equal_lines_end() {
        let text =
            |many: usize, middle: &str| format!("{}{middle}\n{}", "x\n".repeat(many), "x\n".repeat(many));
        assert_eq!(
            unified(&text(2, "old"), &text(2, "new")),
            "@@ -1,6 +1,6 @@\n x\n x\n-old\n+new\n x\n x\n \n"
        );
        let long = unified(&text(50_000, "old"), &text(50_000, "new"));
        assert!(long.contains("-old\n") && long.contains("+new\n"));
        // As many equal lines as these are more than is looked at.
        let pairs = |end: &str| (0..60_000).map(|n| format!("{}\n", n % 150)).collect::<String>() + end;
        let many = unified(&pairs("a"), &pairs("b"));
        assert!(many.contains("-a\n") && many.ends_with("+b\n"));
    }
}
