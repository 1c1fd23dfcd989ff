//! What is done to a store.

use std::fs;
use std::path::{Path, PathBuf};

use crate::random::Random;
use crate::world::{World, copy_dir, files};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Emptied,
    Flipped,
    Missing,
    OlderDatabase,
    OlderFile,
    Swapped,
    Truncated,
    Zeroed,
}

/// In turn; what is likely to happen comes more often.
pub const KINDS: [Kind; 16] = [
    Kind::Truncated,
    Kind::Flipped,
    Kind::Zeroed,
    Kind::Swapped,
    Kind::OlderFile,
    Kind::Flipped,
    Kind::Truncated,
    Kind::Missing,
    Kind::Flipped,
    Kind::Zeroed,
    Kind::Swapped,
    Kind::OlderDatabase,
    Kind::Truncated,
    Kind::Flipped,
    Kind::Emptied,
    Kind::Zeroed,
];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Emptied => "a folder emptied",
            Kind::Flipped => "one bit flipped",
            Kind::Missing => "a file missing",
            Kind::OlderDatabase => "an older database",
            Kind::OlderFile => "an older copy of one file",
            Kind::Swapped => "two sectors swapped",
            Kind::Truncated => "truncated",
            Kind::Zeroed => "sectors zeroed",
        }
    }
}

#[derive(Debug)]
pub struct Variant {
    pub kind: Kind,
    file: PathBuf,
    at: usize,
    to: usize,
    len: usize,
}

impl Variant {
    pub fn choose(kind: Kind, world: &World, random: &mut Random) -> Self {
        let all: Vec<_> = files(&world.store).into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
        // Half of the time the database, else any file.
        let database = all.iter().position(|(path, _)| path.ends_with("sled/db")).unwrap();
        let chosen = if random.below(2) == 0 { database } else { random.below(all.len()) };
        let (file, bytes) = &all[chosen];
        let (sector, size) = ([512, 4096][random.below(2)], bytes.len());
        // sled's file is made longer than what is in it: most of the damage is where something is.
        let used = bytes.iter().rposition(|b| *b != 0).map_or(1, |n| n + 1);
        let end = if random.below(8) == 0 { size } else { used };
        let (at, to) = match kind {
            Kind::Flipped | Kind::Truncated => (random.below(end), random.below(8)),
            _ => (random.below(end) / sector * sector, random.below(end) / sector * sector),
        };
        Variant { kind, file: file.clone(), at, to, len: sector }
    }

    /// Does it to a copy of the store.
    pub fn apply(&self, world: &World, dir: &Path) {
        copy_dir(&world.store, dir);
        let path = dir.join(&self.file);
        let mut bytes = fs::read(&path).unwrap();
        match self.kind {
            Kind::Emptied => {
                let folder = ["sled", "log", "sled"][self.at % 3];
                fs::remove_dir_all(dir.join(folder)).unwrap();
                fs::create_dir(dir.join(folder)).unwrap();
                return;
            }
            Kind::Missing => return fs::remove_file(path).unwrap(),
            Kind::OlderDatabase => {
                fs::remove_dir_all(dir.join("sled")).unwrap();
                return copy_dir(&world.earlier.join("sled"), &dir.join("sled"));
            }
            Kind::OlderFile => {
                // One that was not there yet is taken away.
                match fs::read(world.earlier.join(&self.file)) {
                    Ok(older) => fs::write(path, older).unwrap(),
                    Err(_) => fs::remove_file(path).unwrap(),
                }
                return;
            }
            Kind::Flipped => bytes[self.at] ^= 1 << self.to,
            Kind::Truncated => bytes.truncate(self.at),
            Kind::Swapped => {
                let len = self.len.min(bytes.len() - self.at).min(bytes.len() - self.to);
                let (one, other) =
                    (bytes[self.at..self.at + len].to_vec(), bytes[self.to..self.to + len].to_vec());
                bytes[self.at..self.at + len].copy_from_slice(&other);
                bytes[self.to..self.to + len].copy_from_slice(&one);
            }
            Kind::Zeroed => {
                let len = self.len * (1 + self.to % 3);
                bytes.iter_mut().skip(self.at).take(len).for_each(|b| *b = 0);
            }
        }
        fs::write(path, bytes).unwrap();
    }
}
