//! Which lists of API audiences tokens may have that are out there. A token without a wish of its own gets the whole list
//! of its time, and stays good as long as one of those names is accepted.

use serde::{Deserialize, Serialize};

use super::LEEWAY;

/// A list that tokens were given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Past {
    pub(super) names: Vec<String>,
    /// No token with it expires later (Unix seconds).
    pub(super) until: i64,
}

/// The lists up to this start. `current` was in force, and no token expires after `last`; `before` are those of earlier
/// times, `None` where nobody has kept them.
pub(super) fn up_to_now(current: &[String], before: Option<&[Past]>, last: i64) -> Vec<Past> {
    let mut lists = match before {
        Some(before) => before.to_vec(),
        // Each of the names may have been the only one.
        None => current.iter().map(|name| Past { names: vec![name.clone()], until: last }).collect(),
    };
    lists.retain(|past| !same(&past.names, current));
    if !current.is_empty() {
        lists.push(Past { names: current.to_vec(), until: last });
    }
    lists
}

/// What is to be kept of `lists` once `wanted` is in force and the names in `dropped` were let go.
///
/// # Errors
/// A list whose tokens may live and have none of the names that are wanted.
pub(super) fn after(
    lists: Vec<Past>,
    wanted: &[String],
    dropped: &[String],
    now: i64,
) -> Result<Vec<Past>, Past> {
    let mut kept = Vec::new();
    for past in lists.into_iter().filter(|past| past.until.saturating_add(LEEWAY) > now) {
        if past.names.iter().any(|name| wanted.contains(name)) {
            kept.push(past);
        } else if !past.names.iter().all(|name| dropped.contains(name)) {
            return Err(past);
        }
    }
    // Tokens get this one again.
    kept.retain(|past| !same(&past.names, wanted));
    Ok(kept)
}

fn same(a: &[String], b: &[String]) -> bool {
    a.iter().all(|name| b.contains(name)) && b.iter().all(|name| a.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: i64 = 3600;

    /// A server that is started again and again, and mints until it ends.
    #[derive(Default)]
    struct Server {
        current: Vec<String>,
        before: Option<Vec<Past>>,
        last: i64,
    }

    impl Server {
        /// A start, and tokens of it; the names that are lost if it is refused.
        fn start(&mut self, wanted: &str, dropped: &str, now: i64) -> Result<(), String> {
            let lists = up_to_now(&self.current, self.before.as_deref(), self.last);
            let kept = after(lists, &names(wanted), &names(dropped), now).map_err(|p| p.names.join(" "))?;
            (self.current, self.before, self.last) = (names(wanted), Some(kept), now + LIFE);
            Ok(())
        }
    }

    fn names(list: &str) -> Vec<String> {
        list.split_whitespace().map(str::to_owned).collect()
    }

    fn lost(names: &str) -> Result<(), String> {
        Err(names.to_owned())
    }

    #[test]
    fn an_audience_goes_once_the_tokens_are_dead_that_have_no_other() {
        let mut server = Server::default();
        server.start("a", "", 0).unwrap();
        server.start("b a", "", 1000).unwrap();
        assert_eq!(server.start("b", "", 2000), lost("a"));
        // Tokens go on being minted with both.
        server.start("b a", "", 2000).unwrap();
        assert_eq!(
            server.start("b", "", LIFE + LEEWAY - 1),
            lost("a"),
            "verifiers take them a little longer"
        );
        server.start("b", "", LIFE + LEEWAY).unwrap();
        // Those of both names are still good.
        server.start("b c", "", LIFE + 100).unwrap();
        assert_eq!(server.start("c", "", LIFE + 200), lost("b a"));
        // The last with both is of the second 2000, the last with b alone is of LIFE + LEEWAY.
        assert_eq!(server.start("c", "", 2000 + LIFE + LEEWAY), lost("b"));
        server.start("c", "", 2 * LIFE + 2 * LEEWAY).unwrap();
    }

    #[test]
    fn one_name_of_several_is_enough() {
        let mut server = Server::default();
        server.start("a b", "", 0).unwrap();
        server.start("b", "", 10).unwrap();
        server.start("b c", "", 20).unwrap();
        assert_eq!(server.start("c d", "", 30), lost("a b"));
        assert_eq!(server.start("c d", "b", 30), lost("a b"), "nobody has said anything of a");
        server.start("c d", "a b", 30).unwrap();
        server.start("c", "", 40).unwrap();
    }

    #[test]
    fn what_was_let_go_is_asked_for_no_more() {
        let mut server = Server::default();
        server.start("a", "", 0).unwrap();
        server.start("b", "a", 10).unwrap();
        server.start("b", "", 20).unwrap();
        assert_eq!(server.before.as_deref(), Some(&[][..]));
        // One that comes back is in force: it has no end before it stops again.
        server.start("b a", "", 30).unwrap();
        server.start("a b", "", LIFE).unwrap();
        assert_eq!(server.start("c", "", 2 * LIFE), lost("a b"));
    }

    #[test]
    fn where_no_lists_were_kept_each_name_may_have_been_the_only_one() {
        let mut server = Server { current: names("b a"), before: None, last: LIFE };
        assert_eq!(server.start("b", "", 0), lost("a"));
        server.start("b a", "", 0).unwrap();
        server.start("b a", "", LIFE).unwrap();
        server.start("b", "", LIFE + LEEWAY).unwrap();
    }
}
