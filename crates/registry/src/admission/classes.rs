//! Which of several default classes counts.

use tokensmith_objects::Stored;

/// The name of the one that was made last, the first by name of those.
pub(super) fn latest<'a>(marked: impl Iterator<Item = &'a Stored>) -> Option<String> {
    let made = |class: &Stored| class.text(&["metadata", "creationTimestamp"]).into_owned();
    let latest =
        marked.max_by(|one, other| made(one).cmp(&made(other)).then_with(|| other.name().cmp(one.name())));
    latest.map(|class| class.name().to_owned())
}
