//! Who is here, and who goes when there is no room: pure, but for its counting.
//!
//! A connection is in one stage at a time. All but the busy can be asked to leave, the one that has been in its stage for
//! longest first. The two stages of newcomers keep a share of the room, so that nobody who fills the place in another way
//! leaves newcomers no time to say their first word.

use std::collections::{BTreeMap, HashMap};

use crate::block::Block;

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Has not said a whole first word.
    Silent,
    /// Has, but made no request yet: it is in its handshake, or at its first head.
    Greeted,
    /// Its requests have been answered.
    Idle,
    /// It is waited for: for its bodies, or for it to read.
    Slow,
    /// Its requests are worked on, answers go out.
    Busy,
}

const STAGES: usize = 5;

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) all: usize,
    pub(crate) per_block: usize,
    pub(crate) silent: usize,
    pub(crate) greeted: usize,
}

#[derive(Debug)]
pub(crate) struct Crowd {
    room: Room,
    /// Counts changes of stage: a smaller one is an older one.
    order: u64,
    members: HashMap<u64, Member>,
    blocks: HashMap<Block, Kin>,
    counts: [usize; STAGES],
}

#[derive(Debug)]
struct Member {
    block: Block,
    stage: Stage,
    since: u64,
}

/// Those of one address: by stage, the oldest first.
#[derive(Debug, Default)]
struct Kin {
    stages: [BTreeMap<u64, u64>; STAGES],
    total: usize,
}

/// Whether somebody may come in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// With this number; those in the list must go.
    In(u64, Vec<u64>),
    /// All places are taken by those who are at work.
    Full,
    /// The address has what it may have, and uses it.
    Refused,
}

impl Crowd {
    pub(crate) fn new(room: Room) -> Self {
        Crowd { room, order: 0, members: HashMap::new(), blocks: HashMap::new(), counts: [0; STAGES] }
    }

    /// Whether another one could come in, if its address may have one more.
    pub(crate) fn has_room(&self) -> bool {
        self.members.len() < self.room.all || self.counts[Stage::Busy as usize] < self.members.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn admit(&mut self, block: Block) -> Admission {
        if !self.has_room() {
            return Admission::Full;
        }
        let mut leaving = Vec::new();
        if self.count(block, Stage::Silent) >= self.room.silent {
            leaving.extend(self.oldest(block, Stage::Silent));
        } else if self.total(block) >= self.room.per_block {
            match self.victim_of(block) {
                Some(id) => leaving.push(id),
                None => return Admission::Refused,
            }
        }
        if self.members.len() >= self.room.all + leaving.len() {
            match self.victim() {
                Some(id) => leaving.push(id),
                None => return Admission::Full,
            }
        }
        for id in &leaving {
            self.remove(*id);
        }
        self.order += 1;
        let id = self.order;
        self.members.insert(id, Member { block, stage: Stage::Silent, since: id });
        self.enter(id, block, Stage::Silent, id);
        self.blocks.entry(block).or_default().total += 1;
        Admission::In(id, leaving)
    }

    /// Another stage; gives who must go because of it.
    pub(crate) fn set(&mut self, id: u64, stage: Stage) -> Option<u64> {
        let member = self.members.get(&id).filter(|member| member.stage != stage)?;
        let block = member.block;
        let leaving = match stage {
            Stage::Greeted if self.count(block, stage) >= self.room.greeted => self.oldest(block, stage),
            _ => None,
        };
        if let Some(leaving) = leaving {
            self.remove(leaving);
        }
        self.order += 1;
        let since = self.order;
        let member = self.members.get_mut(&id)?;
        let (old, entered) = (member.stage, member.since);
        (member.stage, member.since) = (stage, since);
        self.leave(block, old, entered);
        self.enter(id, block, stage, since);
        leaving
    }

    /// Takes somebody who waits, so that what it holds is free for others.
    pub(crate) fn displace(&mut self) -> Option<u64> {
        let id = self.victim()?;
        self.remove(id);
        Some(id)
    }

    /// Gone; whether it was still here.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let Some(member) = self.members.remove(&id) else { return false };
        self.leave(member.block, member.stage, member.since);
        if let Some(kin) = self.blocks.get_mut(&member.block) {
            kin.total -= 1;
            if kin.total == 0 {
                self.blocks.remove(&member.block);
            }
        }
        true
    }

    /// What newcomers keep, in each of their stages.
    fn share(of: usize) -> usize {
        (of / 8).min(64)
    }

    /// In which order stages are asked for somebody to go, and how many they keep.
    fn turns(share: usize) -> [(Stage, usize); 6] {
        [
            (Stage::Silent, share),
            (Stage::Greeted, share),
            (Stage::Idle, 0),
            (Stage::Slow, 0),
            (Stage::Greeted, 0),
            (Stage::Silent, 0),
        ]
    }

    fn victim_of(&self, block: Block) -> Option<u64> {
        let turns = Self::turns(Self::share(self.room.per_block));
        let mut found = turns.into_iter().filter(|(stage, kept)| self.count(block, *stage) > *kept);
        found.find_map(|(stage, _)| self.oldest(block, stage))
    }

    /// Of the address that has most of a stage. Looks at all addresses, of which there are no more than connections.
    fn victim(&self) -> Option<u64> {
        let turns = Self::turns(Self::share(self.room.all));
        let (stage, _) = turns.into_iter().find(|(stage, kept)| self.counts[*stage as usize] > *kept)?;
        let most = self.blocks.values().max_by_key(|kin| kin.stages[stage as usize].len())?;
        most.stages[stage as usize].values().next().copied()
    }

    fn oldest(&self, block: Block, stage: Stage) -> Option<u64> {
        self.blocks.get(&block)?.stages[stage as usize].values().next().copied()
    }

    fn count(&self, block: Block, stage: Stage) -> usize {
        self.blocks.get(&block).map_or(0, |kin| kin.stages[stage as usize].len())
    }

    fn total(&self, block: Block) -> usize {
        self.blocks.get(&block).map_or(0, |kin| kin.total)
    }

    fn enter(&mut self, id: u64, block: Block, stage: Stage, since: u64) {
        self.counts[stage as usize] += 1;
        self.blocks.entry(block).or_default().stages[stage as usize].insert(since, id);
    }

    fn leave(&mut self, block: Block, stage: Stage, since: u64) {
        self.counts[stage as usize] -= 1;
        if let Some(kin) = self.blocks.get_mut(&block) {
            kin.stages[stage as usize].remove(&since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: [u64; 0] = [];
    const ROOM: Room = Room { all: 100, per_block: 80, silent: 20, greeted: 20 };

    fn v4(n: u32) -> Block {
        Block::V4(n)
    }

    fn admit(crowd: &mut Crowd, block: Block) -> (u64, Vec<u64>) {
        match crowd.admit(block) {
            Admission::In(id, leaving) => (id, leaving),
            other => panic!("{other:?}"),
        }
    }

    /// Comes in and goes on to a stage.
    fn at(crowd: &mut Crowd, block: Block, stage: Stage) -> u64 {
        let (id, _) = admit(crowd, block);
        crowd.set(id, Stage::Greeted);
        crowd.set(id, stage);
        id
    }

    #[test]
    fn a_newcomer_takes_the_place_of_the_longest_silent() {
        let mut crowd = Crowd::new(ROOM);
        let first: Vec<_> = (0..20).map(|_| admit(&mut crowd, v4(1)).0).collect();
        assert_eq!(admit(&mut crowd, v4(1)).1, [first[0]]);
        assert_eq!(admit(&mut crowd, v4(1)).1, [first[1]]);
        assert_eq!(admit(&mut crowd, v4(2)).1, NOBODY, "others are not asked");
        // Who has spoken is not silent.
        crowd.set(first[2], Stage::Greeted);
        assert_eq!(admit(&mut crowd, v4(1)).1, NOBODY);
        assert_eq!(admit(&mut crowd, v4(1)).1, [first[3]]);
    }

    #[test]
    fn an_address_leaves_room_for_others() {
        let mut crowd = Crowd::new(ROOM);
        for _ in 0..80 {
            at(&mut crowd, v4(1), Stage::Busy);
        }
        assert_eq!(crowd.admit(v4(1)), Admission::Refused, "all are at work");
        for n in 0..20 {
            at(&mut crowd, v4(2 + n), Stage::Busy);
        }
        assert!(!crowd.has_room());
        assert_eq!(crowd.admit(v4(99)), Admission::Full);
    }

    #[test]
    fn the_busy_stay_and_the_idle_go() {
        let mut crowd = Crowd::new(ROOM);
        let busy = at(&mut crowd, v4(1), Stage::Busy);
        let slow = at(&mut crowd, v4(1), Stage::Slow);
        let idle: Vec<_> = (0..78).map(|_| at(&mut crowd, v4(1), Stage::Idle)).collect();
        assert_eq!(admit(&mut crowd, v4(1)).1, [idle[0]]);
        for id in &idle[1..] {
            assert!(crowd.set(*id, Stage::Busy).is_none());
        }
        let (newest, leaving) = admit(&mut crowd, v4(1));
        assert_eq!(leaving, [slow], "newcomers keep a share");
        for id in [busy, newest, idle[1]] {
            assert!(crowd.remove(id), "{id}");
        }
    }

    #[test]
    fn the_address_with_most_goes_first() {
        let mut crowd = Crowd::new(ROOM);
        let alone = at(&mut crowd, v4(7), Stage::Idle);
        let many: Vec<_> = (0..79).map(|_| at(&mut crowd, v4(1), Stage::Idle)).collect();
        for n in 0..20 {
            at(&mut crowd, v4(100 + n), Stage::Idle);
        }
        assert_eq!(admit(&mut crowd, v4(200)).1, [many[0]]);
        assert_eq!(crowd.displace(), Some(many[1]));
        assert!(crowd.remove(alone));
    }

    #[test]
    fn those_who_greet_have_a_bound_of_their_own() {
        let mut crowd = Crowd::new(ROOM);
        let first = at(&mut crowd, v4(1), Stage::Greeted);
        for _ in 0..19 {
            at(&mut crowd, v4(1), Stage::Greeted);
        }
        let (next, _) = admit(&mut crowd, v4(1));
        assert_eq!(crowd.set(next, Stage::Greeted), Some(first));
        assert!(!crowd.remove(first), "it is gone already");
        assert_eq!(crowd.set(first, Stage::Idle), None);
    }

    /// Whatever comes, the counts are those of the members.
    #[test]
    fn counts_hold() {
        let mut crowd = Crowd::new(Room { all: 12, per_block: 8, silent: 4, greeted: 3 });
        let stages = [Stage::Silent, Stage::Greeted, Stage::Idle, Stage::Slow, Stage::Busy];
        let (mut seed, mut known) = (7_u64, Vec::new());
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = (seed >> 33) as usize;
            match pick % 4 {
                0 => {
                    if let Admission::In(id, _) = crowd.admit(v4((pick / 4 % 5) as u32)) {
                        known.push(id);
                    }
                }
                1 if !known.is_empty() => drop(crowd.remove(known[pick / 4 % known.len()])),
                _ if !known.is_empty() => {
                    crowd.set(known[pick / 4 % known.len()], stages[pick / 64 % 5]);
                }
                _ => {}
            }
            assert!(crowd.members.len() <= 12);
            assert_eq!(crowd.counts.iter().sum::<usize>(), crowd.members.len());
            assert_eq!(crowd.blocks.values().map(|kin| kin.total).sum::<usize>(), crowd.members.len());
            assert!(crowd.blocks.values().all(|kin| kin.total <= 8 && kin.stages[0].len() <= 8));
        }
    }
}
