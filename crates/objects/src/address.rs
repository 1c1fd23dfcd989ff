//! Addresses and networks in fields that are older than strict reading (apimachinery `util/validation/ip.go`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::field::Findings;
use crate::path::Path;

/// What is wrong with an address.
pub(crate) fn ip(errors: &mut Findings, at: &Path<'_>, text: &str) {
    match read(text) {
        None => {
            errors.invalid(at, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        }
        Some((_, true)) => errors.invalid(at, text, "must not have leading 0s"),
        Some((IpAddr::V6(ip), _)) if ip.to_ipv4_mapped().is_some() => {
            errors.invalid(at, text, "must not be an IPv4-mapped IPv6 address");
        }
        Some(_) => {}
    }
}

/// What is wrong with an address that something outside listens on: it is one, and none that means something else.
pub(crate) fn unspecial(errors: &mut Findings, at: &Path<'_>, text: &str) {
    let before = errors.len();
    ip(errors, at, text);
    if errors.len() == before {
        special(errors, at, text);
    }
}

/// What else an address means.
pub(crate) fn special(errors: &mut Findings, at: &Path<'_>, text: &str) {
    let Some((ip, _)) = read(text) else { return };
    if ip.is_unspecified() {
        errors.invalid(
            at,
            text,
            format!("may not be unspecified ({})", if ip.is_ipv4() { "0.0.0.0" } else { "::" }),
        );
    }
    if ip.is_loopback() {
        errors.invalid(at, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (link_local, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.segments()[0] & 0xffc0 == 0xfe80, ip.segments()[0] & 0xff0f == 0xff02),
    };
    if link_local {
        errors.invalid(at, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if multicast {
        errors.invalid(at, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// What is told of an address that is valid, or was once, in another form than it should have.
pub(crate) fn ip_warning(at: &Path<'_>, text: &str) -> Option<String> {
    let (ip, zeros) = read(text)?;
    let plain = as_ipv4(ip).map_or(ip, IpAddr::V4).to_string();
    if zeros || (ip.is_ipv6() && as_ipv4(ip).is_some()) {
        return Some(format!(
            "{at}: non-standard IP address {text:?} will be considered invalid in a future Kubernetes release: use {plain:?}"
        ));
    }
    let odd = ip.is_ipv6() && plain != text;
    odd.then(|| format!("{at}: IPv6 address {text:?} should be in RFC 5952 canonical format ({plain:?})"))
}

/// The same of a network that is valid.
pub(crate) fn cidr_warning(at: &Path<'_>, text: &str) -> Option<String> {
    let (ip, bits, _) = network(text)?;
    let plain = format!("{ip}/{bits}");
    let odd = ip.is_ipv6() && plain != text;
    odd.then(|| format!("{at}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({plain:?})"))
}

/// Whether a network is a part of another one, and not the whole.
pub(crate) fn is_within(part: &str, whole: &str) -> bool {
    let (Some((ip, bits, _)), Some((base, fewer, _))) = (network(part), network(whole)) else { return false };
    let same = match (ip, base) {
        (IpAddr::V4(ip), IpAddr::V4(base)) => {
            (u32::from(ip) ^ u32::from(base)).checked_shr(32u32.saturating_sub(fewer)).unwrap_or(0) == 0
        }
        (IpAddr::V6(ip), IpAddr::V6(base)) => {
            (u128::from(ip) ^ u128::from(base)).checked_shr(128u32.saturating_sub(fewer)).unwrap_or(0) == 0
        }
        _ => false,
    };
    same && bits > fewer
}

/// Whether it is an address at all.
pub(crate) fn is_ip(text: &str) -> bool {
    read(text).is_some()
}

/// What is wrong with a network.
pub(crate) fn cidr(errors: &mut Findings, at: &Path<'_>, text: &str) {
    let Some((ip, bits, zeros)) = network(text) else {
        return errors.invalid(at, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    };
    let detail = match ip {
        _ if zeros => "must not have leading 0s in IP or prefix length",
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => "must not have an IPv4-mapped IPv6 address",
        IpAddr::V4(ip) if u32::from(ip).checked_shl(bits).unwrap_or(0) != 0 => BEYOND,
        IpAddr::V6(ip) if u128::from(ip).checked_shl(bits).unwrap_or(0) != 0 => BEYOND,
        _ => return,
    };
    errors.invalid(at, text, detail);
}

/// What is wrong with a network in a field that takes one form of each alone.
pub(crate) fn canonical_cidr(errors: &mut Findings, at: &Path<'_>, text: &str) {
    let before = errors.len();
    cidr(errors, at, text);
    if errors.len() == before
        && let Some((ip, bits, _)) = network(text)
        && format!("{ip}/{bits}") != text
    {
        errors.invalid(at, text, format!("must be in canonical form (\"{ip}/{bits}\")"));
    }
}

const BEYOND: &str = "must not have bits set beyond the prefix length";

/// Whether a network is of IPv6; nothing if it is none.
pub(crate) fn is_ipv6_network(text: &str) -> Option<bool> {
    network(text).map(|(ip, ..)| ip.is_ipv6() && as_ipv4(ip).is_none())
}

/// An address, how many of its bits name the network, and whether a number has zeros in front.
fn network(text: &str) -> Option<(IpAddr, u32, bool)> {
    let (ip, bits) = text.split_once('/')?;
    let (ip, zeros) = read(ip)?;
    let digits = !bits.is_empty() && bits.bytes().all(|c| c.is_ascii_digit());
    let number: u32 = bits.parse().ok().filter(|_| digits)?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    (number <= most).then_some((ip, number, zeros || (bits.len() > 1 && bits.starts_with('0'))))
}

/// An address, and whether one of its decimal numbers has zeros in front, as old fields may have it.
pub(crate) fn read(text: &str) -> Option<(IpAddr, bool)> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some((ip, false));
    }
    let (head, tail) = match text.rsplit_once(':') {
        Some((head, tail)) => (Some(head), tail),
        None => (None, text),
    };
    let parts: Vec<&str> = tail.split('.').collect();
    let number = |part: &&str| {
        let digits = !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
        part.trim_start_matches('0')
            .parse::<u8>()
            .ok()
            .or(Some(0).filter(|_| part.bytes().all(|c| c == b'0')))
            .filter(|_| digits)
    };
    let numbers: Vec<u8> = parts.iter().map(number).collect::<Option<_>>()?;
    let ip = Ipv4Addr::from(<[u8; 4]>::try_from(numbers).ok()?);
    match head {
        None => Some((ip.into(), true)),
        Some(head) => format!("{head}:{ip}").parse::<Ipv6Addr>().ok().map(|ip| (ip.into(), true)),
    }
}

fn as_ipv4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(look: fn(&mut Findings, &Path<'_>, &str), text: &str) -> Vec<String> {
        let mut errors = Findings::default();
        look(&mut errors, &Path::new("f"), text);
        errors.told().iter().map(|e| e.message.rsplit("must ").next().unwrap_or("").to_owned()).collect()
    }

    #[test]
    fn addresses_are_read_strictly() {
        for good in ["10.0.0.1", "::1", "FE80:0:0:0::abc"] {
            assert!(found(ip, good).is_empty(), "{good}");
        }
        for (bad, why) in [
            ("", "be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
            ("300.0.0.1", "be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
            ("10.0.0.1/8", "be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
            ("010.0.0.1", "not have leading 0s"),
            ("::ffff:1.2.3.4", "not be an IPv4-mapped IPv6 address"),
        ] {
            assert_eq!(found(ip, bad), [why], "{bad}");
        }
    }

    #[test]
    fn networks_are_read_strictly() {
        for good in ["10.244.0.0/24", "0.0.0.0/0", "10.0.0.1/32", "fd00::/64", "::/0"] {
            assert!(found(cidr, good).is_empty(), "{good}");
        }
        for (bad, why) in [
            ("10.244.0.0", "be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
            ("10.244.0.0/33", "be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
            ("10.244.0.1/24", BEYOND.trim_start_matches("must ")),
            ("fd00::1/64", BEYOND.trim_start_matches("must ")),
            ("10.244.0.0/024", "not have leading 0s in IP or prefix length"),
            ("010.0.0.0/8", "not have leading 0s in IP or prefix length"),
        ] {
            assert_eq!(found(cidr, bad), [why], "{bad}");
        }
        assert_eq!(
            (is_ipv6_network("10.0.0.0/8"), is_ipv6_network("fd00::/64"), is_ipv6_network("x")),
            (Some(false), Some(true), None)
        );
    }
}
