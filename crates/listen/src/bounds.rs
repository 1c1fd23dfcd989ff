//! What clients may take.

use std::time::Duration;

use crate::descriptors;

/// What clients may take of one listener. An address is what one person has: one of IPv4, a /64 of IPv6.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at one time, tunnels included.
    pub connections: usize,
    /// Those of one address; the rest is room for others.
    pub per_address: usize,
    /// Those of one address that have not said a whole first word: a TLS hello, or the beginning of a request.
    pub silent: usize,
    /// Those of one address that have, and have made no whole request yet.
    pub greeted: usize,
    /// Whether HTTP/1 is spoken; HTTP/2 is.
    pub http1: bool,
    /// How long the first word may take.
    pub hello: Duration,
    /// How long a handshake may take, the hello included.
    pub handshake: Duration,
    /// How long the head of a request may take.
    pub head: Duration,
    /// How long a connection of HTTP/1 may be idle.
    pub idle_http1: Duration,
    /// How long a connection of HTTP/2 may be idle.
    pub idle_http2: Duration,
    /// All headers of a request, in bytes.
    pub header_bytes: u32,
    /// Headers of requests of which nobody knows yet who sends them, in bytes: of a connection, an address, and in all. A
    /// connection may have all its streams with a token of 16 KB each: that is what one service sends at once.
    pub waiting_header_bytes: [u64; 3],
    /// Requests at one time on a connection of HTTP/2.
    pub streams: u32,
    /// Answers that are made and not sent, in bytes: of a connection, an address, and in all. Who has more waits with the
    /// next request; one answer more than that may be held for each core.
    pub unread_bytes: [u64; 3],
    /// How long an answer may wait for a client that reads nothing.
    pub stall: Duration,
    /// How long a client is let be before what it does not read is taken from it for another answer.
    pub patience: Duration,
    /// How long a request waits for room; then it is 429.
    pub room: Duration,
    /// A peer of HTTP/2 that hangs is noticed after these two.
    pub ping: Duration,
    /// See [`ping`](Self::ping).
    pub pong: Duration,
    /// How long, once told to stop, clients are waited for that say and read nothing.
    pub farewell: Duration,
    /// How long open requests and tunnels may take then.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            connections: 4096,
            per_address: 3072,
            silent: 1024,
            greeted: 1024,
            http1: true,
            hello: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            idle_http1: Duration::from_secs(90),
            idle_http2: Duration::from_secs(300),
            header_bytes: 64 << 10,
            waiting_header_bytes: [8 << 20, 16 << 20, 64 << 20],
            streams: 250,
            unread_bytes: [32 << 20, 128 << 20, 512 << 20],
            stall: Duration::from_secs(30),
            patience: Duration::from_secs(5),
            room: Duration::from_secs(10),
            ping: Duration::from_secs(60),
            pong: Duration::from_secs(20),
            farewell: Duration::from_secs(3),
            drain: Duration::from_secs(20),
        }
    }
}

impl Bounds {
    /// The same with fewer connections, so that they leave file descriptors to the rest of the process.
    #[must_use]
    pub fn within_descriptors(self) -> Self {
        self.within(descriptors::limit())
    }

    fn within(self, descriptors: Option<u64>) -> Self {
        let Some(limit) = descriptors.and_then(|limit| usize::try_from(limit).ok()) else { return self };
        let most = (limit * 3 / 4).saturating_sub(32).max(8);
        if most >= self.connections {
            return self;
        }
        let share = |of: usize| (of * most / self.connections.max(1)).max(4);
        Bounds {
            connections: most,
            per_address: share(self.per_address),
            silent: share(self.silent),
            greeted: share(self.greeted),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_to_others() {
        let few = Bounds::default().within(Some(100));
        assert_eq!((few.connections, few.per_address), (43, 32));
        assert!(few.silent >= 4 && few.greeted >= 4);
        assert_eq!(Bounds::default().within(Some(1 << 20)).connections, 4096);
        assert_eq!(Bounds::default().within(None).connections, 4096);
        assert_eq!(Bounds::default().within(Some(10)).connections, 8);
    }
}
