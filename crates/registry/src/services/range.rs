//! The ranges from which services get their addresses and ports.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use tokensmith_core::random;

/// A family of addresses, as the API calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// 32 bits.
    IPv4,
    /// 128 bits.
    IPv6,
}

impl Family {
    /// Of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Family::IPv4 } else { Family::IPv6 }
    }

    /// As the API writes it; what is none of them has been refused before.
    pub(super) fn read(family: &str) -> Self {
        if family == "IPv6" { Family::IPv6 } else { Family::IPv4 }
    }

    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Family::IPv4 => "IPv4",
            Family::IPv6 => "IPv6",
        }
    }

    /// The other one.
    pub fn other(self) -> Self {
        if self == Family::IPv4 { Family::IPv6 } else { Family::IPv4 }
    }
}

/// A network whose addresses services get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    base: IpAddr,
    bits: u8,
}

/// It is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: not a network of services, such as 10.0.0.0/24")]
pub struct NoRange(String);

impl FromStr for AddressRange {
    type Err = NoRange;

    fn from_str(text: &str) -> Result<Self, NoRange> {
        let no = || NoRange(text.to_owned());
        let (base, bits) = text.split_once('/').ok_or_else(no)?;
        let (base, bits): (IpAddr, u8) = (base.parse().map_err(|_| no())?, bits.parse().map_err(|_| no())?);
        let width = if base.is_ipv4() { 32u8 } else { 128 };
        let range = AddressRange { base, bits };
        // Upstream takes no less than eight addresses, and looks at no more than a few million.
        let free = width.checked_sub(bits).filter(|free| *free >= 3).ok_or_else(no)?;
        let begins = range.number() & ((1u128 << free.min(127)) - 1) == 0;
        if begins { Ok(range) } else { Err(no()) }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

impl AddressRange {
    /// A network that a ServiceCIDR names. Of IPv6 upstream gives out none that is wider than /64.
    pub(super) fn of_network(cidr: &str) -> Option<Self> {
        let (base, bits) = cidr.split_once('/')?;
        let (base, bits): (IpAddr, u8) = (base.parse().ok()?, bits.parse().ok()?);
        let fits = if base.is_ipv4() { 0..=32 } else { 64..=128 };
        fits.contains(&bits).then_some(AddressRange { base, bits })
    }

    /// The address that the network itself has.
    pub(super) fn base(&self) -> IpAddr {
        self.base
    }

    /// Of which family its addresses are.
    pub fn family(&self) -> Family {
        Family::of(self.base)
    }

    /// Whether a service may have it: neither the network's own address nor, of IPv4, that of all.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        let offset = Family::of(ip) == self.family();
        let offset = offset.then(|| number(ip).checked_sub(self.number())).flatten();
        offset.is_some_and(|offset| (1..=self.last()).contains(&offset))
    }

    /// The first one, which is the API server's own.
    pub(crate) fn first(&self) -> IpAddr {
        self.at(1)
    }

    /// All that a service may get, in an order that begins somewhere: first those beyond the band at the beginning, which
    /// upstream leaves to whoever names an address.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let range = *self;
        let last = u64::try_from(range.last()).unwrap_or(u64::MAX).min(MOST);
        let band = (last / 16).clamp(16, 256);
        let band = if band >= last { 0 } else { band };
        let (upper, start) = (last - band, random::below(last - band));
        let beyond = (0..upper).map(move |step| band + 1 + (start + step) % upper);
        beyond.chain(1..=band).map(move |offset| range.at(offset.into()))
    }

    fn number(&self) -> u128 {
        number(self.base)
    }

    /// How far the last address that a service may have is from the network's.
    fn last(&self) -> u128 {
        match self.base {
            IpAddr::V4(_) => (1u128 << (32 - self.bits.min(32))).saturating_sub(2),
            IpAddr::V6(_) => (1u128 << (128 - self.bits).min(64)).saturating_sub(1),
        }
    }

    fn at(&self, offset: u128) -> IpAddr {
        let number = self.number().saturating_add(offset);
        match self.base {
            IpAddr::V4(_) => IpAddr::V4(u32::try_from(number).unwrap_or(u32::MAX).into()),
            IpAddr::V6(_) => IpAddr::V6(number.into()),
        }
    }
}

/// So many addresses of a wide network are given out.
const MOST: u64 = 1 << 20;

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// What services get.
#[derive(Clone, Debug)]
pub struct ServiceRanges {
    /// One network, or one of each family: the first is that of services that name no family.
    pub addresses: Vec<AddressRange>,
    /// Ports of nodes.
    pub node_ports: RangeInclusive<u16>,
}

impl Default for ServiceRanges {
    /// Upstream's.
    fn default() -> Self {
        let base = IpAddr::from([10, 0, 0, 0]);
        ServiceRanges { addresses: vec![AddressRange { base, bits: 24 }], node_ports: 30_000..=32_767 }
    }
}

/// Ranges that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    /// There is none, or more than one of a family.
    #[error("services have one network, or one of each family, not {0:?}")]
    Addresses(Vec<String>),
    /// There is none.
    #[error("services have a range of ports of nodes, none of them 0, not {0}-{1}")]
    NodePorts(u16, u16),
}

impl ServiceRanges {
    /// Whether they go together.
    ///
    /// # Errors
    /// They do not.
    pub fn check(&self) -> Result<(), RangesError> {
        let families: Vec<_> = self.addresses.iter().map(AddressRange::family).collect();
        if !matches!(families[..], [_] | [Family::IPv4, Family::IPv6] | [Family::IPv6, Family::IPv4]) {
            return Err(RangesError::Addresses(self.addresses.iter().map(ToString::to_string).collect()));
        }
        let (first, last) = (*self.node_ports.start(), *self.node_ports.end());
        if first == 0 || first > last { Err(RangesError::NodePorts(first, last)) } else { Ok(()) }
    }

    /// The network of a family, if there is one.
    pub(crate) fn of(&self, family: Family) -> Option<&AddressRange> {
        self.addresses.iter().find(|range| range.family() == family)
    }

    /// The family of services that name none.
    pub(crate) fn default_family(&self) -> Family {
        self.addresses.first().map_or(Family::IPv4, AddressRange::family)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_range_gives_each_address_once_and_neither_end() {
        let range: AddressRange = "10.0.0.0/28".parse().unwrap();
        let all: Vec<_> = range.candidates().collect();
        assert_eq!(all.len(), 14);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 14);
        assert!(all.iter().all(|ip| range.has(*ip)));
        for ip in ["10.0.0.0", "10.0.0.15", "10.0.0.16", "9.255.255.255", "::1"] {
            assert!(!range.has(ip.parse().unwrap()), "{ip}");
        }
        assert_eq!((range.first().to_string(), range.to_string()), ("10.0.0.1".into(), "10.0.0.0/28".into()));
        let tiny = |cidr: &str| AddressRange::of_network(cidr).map(|range| range.candidates().count());
        let all =
            ["10.0.0.0/30", "10.0.0.0/31", "10.0.0.0/32", "fd00::/128", "fd00::/63", "10.0.0.0/33", "x/8"];
        assert_eq!(all.map(tiny), [Some(2), Some(0), Some(0), Some(0), None, None, None]);
        for bad in ["10.0.0.1/24", "10.0.0.0/31", "10.0.0.0", "x/8", "fd00::1/64"] {
            assert!(bad.parse::<AddressRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wide_range_is_bounded_and_its_beginning_comes_last() {
        let range: AddressRange = "fd00::/64".parse().unwrap();
        let first: Vec<_> = range.candidates().take(1_000).collect();
        assert!(first.iter().all(|ip| range.has(*ip) && number(*ip) - range.number() > 256));
    }
}
