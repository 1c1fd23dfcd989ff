//! Where an address is, and whether somebody else's document may send us there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who can reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Everyone.
    Public,
    /// This machine.
    Loopback,
    /// Whoever is on the same network: RFC 1918, RFC 4193, and what providers share (RFC 6598).
    Private,
    /// Whoever is on the same link.
    LinkLocal,
    /// A machine of a cloud asks there for its credentials.
    Metadata,
    /// Nobody: unspecified, multicast, documentation, reserved.
    Nobody,
}

impl Reach {
    /// Of an address. IPv4 within IPv6 (mapped, NAT64, 6to4) counts as what it leads to.
    pub fn of(address: IpAddr) -> Reach {
        match address {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => embedded(v6).map_or_else(|| of_v6(v6), of_v4),
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reach::Public => "public",
            Reach::Loopback => "loopback",
            Reach::Private => "private",
            Reach::LinkLocal => "link-local",
            Reach::Metadata => "a cloud's metadata",
            Reach::Nobody => "nobody's",
        })
    }
}

/// The metadata services of the large clouds; most are link-local, these are not, or must not be taken for a neighbour.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure's wire server, whose address looks public.
    Ipv4Addr::new(168, 63, 129, 16),
];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

fn of_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        _ if METADATA_V4.contains(&address) => Reach::Metadata,
        (127, ..) => Reach::Loopback,
        (169, 254, _) => Reach::LinkLocal,
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) => Reach::Private,
        // RFC 6890: this network, protocol assignments, documentation, benchmarks; then multicast and reserved.
        (0, ..) | (192, 0, 0 | 2) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) | (224.., ..) => {
            Reach::Nobody
        }
        _ => Reach::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Reach {
    let first = address.segments()[0];
    match first {
        _ if address == METADATA_V6 => Reach::Metadata,
        _ if address.is_loopback() => Reach::Loopback,
        _ if address.is_unspecified() || address.is_multicast() => Reach::Nobody,
        _ if first & 0xffc0 == 0xfe80 => Reach::LinkLocal,
        // Unique local, and site-local of before (RFC 3879).
        _ if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 => Reach::Private,
        0x2001 if address.segments()[1] == 0xdb8 => Reach::Nobody,
        _ => Reach::Public,
    }
}

/// The IPv4 address that a mapped, compatible, NAT64 or 6to4 address leads to.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(of(high, low)),
        // Not :: and ::1, which are IPv6's own.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(of(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x64, 0xff9b, 1, .., high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// Keeps what an issuer names from leading where only we can go: its documents may name public addresses, and such
/// as its own is.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    home: Vec<Reach>,
}

impl Fence {
    /// Around an issuer with these addresses, which its user has named.
    pub fn around(addresses: &[IpAddr]) -> Fence {
        Fence { home: addresses.iter().map(|address| Reach::of(*address)).collect() }
    }

    /// Whether a document may lead there.
    pub fn lets(&self, address: IpAddr) -> bool {
        let reach = Reach::of(address);
        reach == Reach::Public || self.home.contains(&reach)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_known_in_every_spelling() {
        for (address, reach) in [
            ("8.8.8.8", Reach::Public),
            ("172.15.0.1", Reach::Public),
            ("172.31.255.255", Reach::Private),
            ("10.0.0.1", Reach::Private),
            ("192.168.3.4", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("100.128.0.1", Reach::Public),
            ("127.9.9.9", Reach::Loopback),
            ("169.254.1.1", Reach::LinkLocal),
            ("169.254.169.254", Reach::Metadata),
            ("100.100.100.200", Reach::Metadata),
            ("168.63.129.16", Reach::Metadata),
            ("0.0.0.0", Reach::Nobody),
            ("203.0.113.9", Reach::Nobody),
            ("198.19.0.1", Reach::Nobody),
            ("239.1.1.1", Reach::Nobody),
            ("255.255.255.255", Reach::Nobody),
            ("::1", Reach::Loopback),
            ("::", Reach::Nobody),
            ("fe80::1", Reach::LinkLocal),
            ("fd12::1", Reach::Private),
            ("fec0::1", Reach::Private),
            ("fd00:ec2::254", Reach::Metadata),
            ("ff02::1", Reach::Nobody),
            ("2001:db8::1", Reach::Nobody),
            ("2606:4700::1", Reach::Public),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("::ffff:169.254.169.254", Reach::Metadata),
            ("::10.0.0.1", Reach::Private),
            ("64:ff9b::a9fe:a9fe", Reach::Metadata),
            ("64:ff9b:1::7f00:1", Reach::Loopback),
            ("2002:7f00:1::1", Reach::Loopback),
            ("2002:808:808::1", Reach::Public),
        ] {
            assert_eq!(Reach::of(ip(address)), reach, "{address}");
        }
    }

    #[test]
    fn a_document_leads_to_its_own_kind_and_outside() {
        let (public, local) = (Fence::around(&[ip("8.8.8.8")]), Fence::around(&[ip("127.0.0.1")]));
        assert!(public.lets(ip("1.1.1.1")) && local.lets(ip("1.1.1.1")) && local.lets(ip("::1")));
        for inside in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1", "0.0.0.0"] {
            assert!(!public.lets(ip(inside)), "{inside}");
        }
        assert!(!local.lets(ip("10.0.0.1")) && !local.lets(ip("169.254.169.254")));
    }
}
