//! Who may touch a file, judged by its mode and owner alone: the one rule for all that is private.

/// Who may, besides its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// The group, too: `--allow-group-access`, for volumes that a group owns (Kubernetes' `fsGroup`).
    Group,
    /// Nobody.
    #[default]
    Nobody,
}

impl Others {
    /// The mode bits that nobody is to have.
    pub fn forbidden(self) -> u32 {
        match self {
            Others::Group => 0o007,
            Others::Nobody => 0o077,
        }
    }
}

/// A file or folder, as `stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The permission bits, with those above them.
    pub mode: u32,
    /// Whose it is.
    pub owner: u32,
}

/// Who could get to a file, by the folders above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    group: bool,
    world: bool,
}

impl Reach {
    /// Everyone.
    pub const ALL: Reach = Reach { group: true, world: true };

    /// Who of them gets through this folder.
    pub fn through(self, folder: Found) -> Reach {
        Reach { group: self.group && folder.mode & 0o010 != 0, world: self.world && folder.mode & 0o001 != 0 }
    }
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// Others could read it, or could write it but not get there: give it this mode.
    Mend(u32),
    /// Others could have written it: what it holds may be theirs.
    Refuse(Fault),
}

/// Who could have written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its group, which has not been asked for.
    Group,
    /// This user, whose it is.
    Owner(u32),
    /// Everyone.
    World,
}

/// Judges what is to be private to the user `me`. What others may read is theirs to read no longer; what others may write
/// cannot be mended by a mode, since nobody knows what they have written.
pub fn judge(found: Found, me: u32, others: Others, reach: Reach) -> Verdict {
    let may = |bits: u32| found.mode & bits != 0;
    if may(0o002) && reach.world {
        return Verdict::Refuse(Fault::World);
    }
    if may(0o020) && reach.group && others == Others::Nobody {
        return Verdict::Refuse(Fault::Group);
    }
    // The owner may change what the mode forbids. A volume that a group owns has any owner.
    if ![me, 0].contains(&found.owner) && others == Others::Nobody {
        return Verdict::Refuse(Fault::Owner(found.owner));
    }
    match found.mode & 0o7777 {
        mode if mode & others.forbidden() != 0 => Verdict::Mend(mode & !others.forbidden()),
        _ => Verdict::Fine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: u32 = 1000;

    fn of(mode: u32, owner: u32, others: Others, reach: Reach) -> Verdict {
        judge(Found { mode, owner }, ME, others, reach)
    }

    #[test]
    fn what_others_may_write_is_refused_and_what_they_may_read_is_mended() {
        use Others::{Group, Nobody};
        use Verdict::{Fine, Mend, Refuse};
        for (mode, alone, with_group) in [
            (0o700, Fine, Fine),
            (0o600, Fine, Fine),
            (0o2700, Fine, Fine),
            (0o750, Mend(0o700), Fine),
            (0o2750, Mend(0o2700), Fine),
            (0o755, Mend(0o700), Mend(0o750)),
            (0o701, Mend(0o700), Mend(0o700)),
            (0o644, Mend(0o600), Mend(0o640)),
            (0o770, Refuse(Fault::Group), Fine),
            (0o2770, Refuse(Fault::Group), Fine),
            (0o660, Refuse(Fault::Group), Fine),
            (0o775, Refuse(Fault::Group), Mend(0o770)),
            (0o777, Refuse(Fault::World), Refuse(Fault::World)),
            (0o1777, Refuse(Fault::World), Refuse(Fault::World)),
            (0o2777, Refuse(Fault::World), Refuse(Fault::World)),
            (0o702, Refuse(Fault::World), Refuse(Fault::World)),
            (0o666, Refuse(Fault::World), Refuse(Fault::World)),
        ] {
            assert_eq!(of(mode, ME, Nobody, Reach::ALL), alone, "{mode:o}");
            assert_eq!(of(mode, ME, Group, Reach::ALL), with_group, "{mode:o} with a group");
            assert_eq!(of(mode, 0, Nobody, Reach::ALL), alone, "{mode:o} of root");
        }
    }

    #[test]
    fn another_owner_is_refused_unless_a_group_is_meant() {
        assert_eq!(of(0o700, 1, Others::Nobody, Reach::ALL), Verdict::Refuse(Fault::Owner(1)));
        assert_eq!(of(0o2770, 1, Others::Group, Reach::ALL), Verdict::Fine);
    }

    #[test]
    fn what_nobody_could_get_to_is_mended() {
        let private = Reach::ALL.through(Found { mode: 0o700, owner: ME });
        assert_eq!(of(0o666, ME, Others::Nobody, private), Verdict::Mend(0o600));
        assert_eq!(of(0o777, ME, Others::Nobody, private), Verdict::Mend(0o700));
        let group = Reach::ALL.through(Found { mode: 0o750, owner: ME });
        assert_eq!(of(0o666, ME, Others::Nobody, group), Verdict::Refuse(Fault::Group));
        assert_eq!(of(0o666, ME, Others::Group, group), Verdict::Mend(0o660));
        // A folder that can be entered and not listed is no protection: names are known.
        let entered = Reach::ALL.through(Found { mode: 0o711, owner: ME });
        assert_eq!(of(0o666, ME, Others::Nobody, entered), Verdict::Refuse(Fault::World));
        assert_eq!(entered.through(Found { mode: 0o700, owner: ME }), private);
    }
}
