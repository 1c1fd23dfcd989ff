//! Whom bounds are counted by.

use std::net::IpAddr;

/// An address, as far as one person has it: a whole /64 of IPv6, from which anybody has as many addresses as they like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Block {
    /// A Unix socket's peers: whoever its file lets in.
    Local,
    V4(u32),
    V6(u64),
}

impl Block {
    pub(crate) fn of(ip: Option<IpAddr>) -> Self {
        // On a socket for both families an IPv4 address looks like an IPv6 one.
        match ip.map(|ip| ip.to_canonical()) {
            None => Block::Local,
            Some(IpAddr::V4(ip)) => Block::V4(ip.to_bits()),
            Some(IpAddr::V6(ip)) => Block::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ip: &str) -> Block {
        Block::of(Some(ip.parse().unwrap()))
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("127.0.0.1"), of("127.0.0.2"));
        assert_eq!(of("::ffff:127.0.0.1"), of("127.0.0.1"));
        assert_eq!(Block::of(None), Block::Local);
    }
}
