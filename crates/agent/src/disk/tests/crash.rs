//! Killed, or refused by the disk, at each step: old set or new, never half, and the next write mends everything.

use rustix::io::Errno;

use super::fault::{self, Fault};
use super::*;

const OLD: &[(&str, &str)] = &[("token", "old"), ("ca.crt", "old"), ("a/gone", "old"), ("a/b/c", "old")];
const NEW: &[(&str, &str)] = &[("token", "new"), ("ca.crt", "new"), ("a/b/c", "new"), ("x/y", "new")];

/// The set that is served, by what a reader finds behind `..data`.
fn served(s: &Scratch) -> &'static str {
    let set = |files: &[(&str, &str)]| {
        let current = s.volume.current().unwrap().unwrap();
        let all = |(path, data): &(&str, &str)| {
            let read = std::fs::read_to_string(s.in_volume("..data").join(path));
            read.is_ok_and(|read| read == *data)
        };
        current.len() == files.len() && files.iter().all(all)
    };
    match (set(OLD), set(NEW)) {
        (true, false) => "old",
        (false, true) => "new",
        _ => panic!("neither the old set nor the new one: {:?}", listing(&s.volume.path())),
    }
}

fn each_step(fault: Fault, check: impl Fn(&Scratch, Option<Result<Written, DiskError>>)) -> usize {
    for at in 0.. {
        let s = Scratch::new();
        s.write(OLD).unwrap();
        let mut result = None;
        let reached = fault::reached(at, fault, || result = Some(s.write(NEW)));
        let done = result.as_ref().is_some_and(|result| result.is_ok());
        check(&s, result);
        // Files of both sets can be read by their plain paths, too.
        for path in ["token", "ca.crt", "a/b/c"] {
            let read = std::fs::read_to_string(s.in_volume(path)).unwrap();
            assert_eq!(read, served(&s), "step {at}");
        }
        // The agent comes again.
        let s = s.restart();
        s.write(NEW).unwrap();
        assert_eq!(served(&s), "new");
        s.clock.advance(super::super::GRACE);
        assert_eq!(s.root.sweep(), None);
        assert_eq!(names(&s.volume.path()), ["..TIME", "..data", "a", "ca.crt", "token", "x"], "step {at}");
        assert_eq!(std::fs::read_to_string(s.in_volume("x/y")).unwrap(), "new");
        if done && !reached {
            return at;
        }
    }
    unreachable!()
}

#[test]
fn killed_at_each_step() {
    let mut seen = std::collections::BTreeSet::new();
    let seen_cell = std::cell::RefCell::new(&mut seen);
    let steps = each_step(Fault::Crash, |s, _| {
        seen_cell.borrow_mut().insert(served(s));
    });
    assert!(steps > 20, "{steps}");
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["new", "old"]);
}

#[test]
fn refused_at_each_step() {
    for (errno, text) in [
        (Errno::NOSPC, "no space left on the disk of "),
        (Errno::DQUOT, "disk quota exceeded for "),
        (Errno::ROFS, "is on a read-only file system; it stays as it was"),
        (Errno::IO, "Input/output error"),
    ] {
        let steps = each_step(Fault::Error(errno), |s, result| match result.unwrap() {
            Ok(written) => assert_eq!((written, served(s)), (Written::Updated, "new")),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(text) && !error.contains('\n'), "{error}");
            }
        });
        assert!(steps > 20, "{steps}");
    }
}

#[test]
fn a_first_write_that_is_killed_leaves_nothing_half() {
    for at in 0.. {
        let s = Scratch::new();
        let reached = fault::reached(at, Fault::Crash, || drop(s.write(NEW)));
        if let Some(current) = s.volume.current().unwrap() {
            assert_eq!(current.len(), NEW.len(), "step {at}");
        }
        let s = s.restart();
        s.write(NEW).unwrap();
        assert_eq!(names(&s.volume.path()), ["..TIME", "..data", "a", "ca.crt", "token", "x"]);
        if !reached && at > 20 && s.volume.contains(&local("x/y")) {
            break;
        }
    }
}

#[test]
fn a_state_is_whole_whatever_happens() {
    for fault in [Fault::Crash, Fault::Error(Errno::NOSPC)] {
        for at in 0..8 {
            let s = Scratch::new();
            s.root.write_state("n", "p", b"old").unwrap();
            let result = fault::with(at, fault, || s.root.write_state("n", "p", b"new"));
            let read = s.root.read_state("n", "p").unwrap().unwrap();
            match result {
                Some(Ok(())) => assert_eq!(read, b"new"),
                _ => assert!(read == b"old" || read == b"new"),
            }
            s.root.write_state("n", "p", b"next").unwrap();
            assert_eq!(names(&s.path().join("n/p")), ["state.json"]);
        }
    }
}
