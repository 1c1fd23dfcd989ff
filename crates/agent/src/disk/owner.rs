//! Who owns what in a volume, and what may be done with it (k8s-facts §7.4).

use rustix::process::{getegid, geteuid, getgroups};

use super::dir::Meta;
use crate::payload::File;
use crate::pod::Ownership;

/// Who the agent is.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) user: u32,
    group: u32,
    groups: Vec<u32>,
    /// Whether it may give files to others; found out by doing it.
    pub(super) gives: bool,
}

/// What a volume is to look like, as far as the agent can have it so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owners<'a> {
    agent: &'a Agent,
    group: Option<u32>,
}

impl Agent {
    pub(super) fn new(gives: bool) -> Agent {
        let groups = getgroups().unwrap_or_default().into_iter().map(|g| g.as_raw()).collect();
        Agent { user: geteuid().as_raw(), group: getegid().as_raw(), groups, gives }
    }

    /// An agent that may not give files away leaves them its own: the pod is served to those who run as the agent.
    /// `fsGroup` then counts only if the agent is a member: its bits would open the files to the agent's own group.
    pub(super) fn owners(&self, ownership: &Ownership) -> Owners<'_> {
        let may = |group: &u32| self.gives || *group == self.group || self.groups.contains(group);
        Owners { agent: self, group: ownership.fs_group.filter(may) }
    }
}

impl Owners<'_> {
    /// A file: its own user, if it has one, and readable for the group.
    pub(super) fn file(&self, file: &File) -> Meta {
        let mode = (file.mode & 0o777) | if self.group.is_some() { 0o440 } else { 0 };
        Meta { mode, ..self.link(file.user) }
    }

    /// A folder, the volume's own too. The kubelet's is 0777 with the sticky bit, and mounted read-only into
    /// containers; ours stands in the open, where anybody could put a file under the name of one that is to come.
    pub(super) fn dir(&self) -> Meta {
        let mode = 0o755 | if self.group.is_some() { 0o2550 } else { 0 };
        Meta { mode, ..self.link(None) }
    }

    /// A link; its permissions mean nothing.
    pub(super) fn link(&self, user: Option<u32>) -> Meta {
        let user = user.filter(|_| self.agent.gives).unwrap_or(self.agent.user);
        Meta { mode: 0o777, user, group: self.group.unwrap_or(self.agent.group) }
    }
}
