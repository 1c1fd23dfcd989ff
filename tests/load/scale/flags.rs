//! What is to be measured, of which binary, how often.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokensmith_tests::server;

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The size of the binary.
    Binary,
    /// Pods on disk, and a restart with them.
    Disk,
    /// What costs more with more objects.
    Growth,
    /// Memory of pods, and lists of them.
    Lists,
    /// A start on data that is there.
    Start,
    /// Many watchers, many changes.
    Storm,
    /// One write, and who watches it; idle watchers.
    Watchers,
}

impl Group {
    const ALL: [Group; 7] = [
        Group::Binary,
        Group::Start,
        Group::Lists,
        Group::Watchers,
        Group::Disk,
        Group::Growth,
        Group::Storm,
    ];

    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Group::Binary => "binary",
            Group::Disk => "disk",
            Group::Growth => "growth",
            Group::Lists => "lists",
            Group::Start => "start",
            Group::Storm => "storm",
            Group::Watchers => "watchers",
        }
    }
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Pods in lists and on disk.
    pub pods: usize,
    /// Objects on disk at a restart.
    pub restart: usize,
    /// Objects for the table of growth.
    pub growth: [usize; 3],
    /// Watchers of a write.
    pub watchers: usize,
    /// Watchers that nothing happens to.
    pub idle: usize,
    /// Watchers of a storm, changes a second, and seconds.
    pub storm: (usize, u32, u64),
    /// CPU time that a sample gathers: the system counts it in hundredths of a second.
    pub enough: Duration,
}

const WHOLE: Size = Size {
    pods: 20_000,
    restart: 25_000,
    growth: [1_000, 10_000, 100_000],
    watchers: 500,
    idle: 1_000,
    storm: (1_000, 500, 60),
    enough: Duration::from_millis(400),
};
const QUICK: Size = Size {
    pods: 2_000,
    restart: 2_500,
    growth: [100, 1_000, 10_000],
    watchers: 50,
    idle: 200,
    storm: (100, 100, 5),
    enough: Duration::from_millis(100),
};

/// The command line.
pub struct Flags {
    /// The server's binary.
    pub binary: PathBuf,
    /// What is measured, in this order.
    pub groups: Vec<Group>,
    /// Samples of which the median counts.
    pub repeat: usize,
    /// Fewer objects, to try the program itself.
    pub quick: bool,
    /// Where the rows go besides.
    pub json: Option<PathBuf>,
}

impl Flags {
    /// Reads them.
    pub fn read(args: Vec<String>) -> Result<Self> {
        let (mut binary, mut groups, mut repeat, mut quick, mut json) = (None, None, None, false, None);
        for arg in args {
            match arg.split_once('=').unwrap_or((&arg, "")) {
                ("--binary", path) => binary = Some(PathBuf::from(path).canonicalize().context(arg)?),
                ("--rows", names) => groups = Some(names.split(',').map(group).collect::<Result<Vec<_>>>()?),
                ("--repeat", count) => repeat = Some(count.parse::<usize>().context("--repeat is a number")?),
                ("--quick", "") => quick = true,
                ("--json", path) => json = Some(path.into()),
                _ => bail!(
                    "scale [--binary=PATH] [--rows=GROUP,…] [--repeat=N] [--quick] [--json=FILE], or scale compare OLD NEW; \
                     groups: {}",
                    Group::ALL.map(Group::name).join(", ")
                ),
            }
        }
        let repeat = repeat.unwrap_or(if quick { 1 } else { 5 });
        ensure!((1..=9).contains(&repeat), "--repeat is a number from 1 to 9");
        let binary = binary.map_or_else(server::binary, Ok)?;
        Ok(Flags { binary, groups: groups.unwrap_or_else(|| Group::ALL.to_vec()), repeat, quick, json })
    }

    /// How much of everything.
    pub fn size(&self) -> Size {
        if self.quick { QUICK } else { WHOLE }
    }
}

fn group(name: &str) -> Result<Group> {
    let found = Group::ALL.into_iter().find(|group| group.name() == name);
    found.with_context(|| format!("{name:?} is none of {}", Group::ALL.map(Group::name).join(", ")))
}
