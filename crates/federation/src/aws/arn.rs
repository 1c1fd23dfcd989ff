//! Names of AWS's resources (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>).

use base64::Engine;
use ring::digest::{SHA256, digest};

/// The ARN of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RoleArn {
    partition: String,
    account: String,
    /// Without its path.
    name: String,
}

/// AWS's partitions.
pub(super) const PARTITIONS: [&str; 3] = ["aws", "aws-cn", "aws-us-gov"];

impl RoleArn {
    /// `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next();
        let (arn, partition, iam, region, account) = (next()?, next()?, next()?, next()?, next()?);
        let path = next()?.strip_prefix("role/")?;
        let name = path.rsplit('/').next()?;
        let fits = arn == "arn" && PARTITIONS.contains(&partition) && (iam, region) == ("iam", "");
        let path = path.len() <= 512 && path.bytes().all(|b| b.is_ascii_graphic()) && !path.contains("//");
        let named = (1..=64).contains(&name.len()) && name.bytes().all(is_of_name);
        (fits && path && named && is_account(account)).then(|| RoleArn {
            partition: partition.to_owned(),
            account: account.to_owned(),
            name: name.to_owned(),
        })
    }

    pub(super) fn partition(&self) -> &str {
        &self.partition
    }

    pub(super) fn account(&self) -> &str {
        &self.account
    }

    /// Of a session: the role's path is not in it.
    pub(super) fn session(&self, name: &str) -> String {
        format!("arn:{}:sts::{}:assumed-role/{}/{name}", self.partition, self.account, self.name)
    }

    /// The role's id. AWS gives each role one when it is made; here it follows from the ARN, so that it is the same after a restart.
    pub(super) fn id(&self) -> String {
        let text = format!("{}:{}:{}", self.partition, self.account, self.name);
        let hash = digest(&SHA256, text.as_bytes());
        format!("AROA{}", base32(&hash.as_ref()[..11]).get(..17).unwrap_or_default())
    }
}

/// 12 digits.
pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// `[\w+=,.@-]`: of the names of roles and of sessions.
pub(super) fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

/// The alphabet of AWS's ids (RFC 4648 §6), without padding.
pub(super) fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::new();
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        held = (held << 8 | u32::from(*byte)) & 0xfff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[(held >> bits) as usize & 31]));
        }
    }
    out
}

/// The secret half of an access key: 40 characters of base64, as AWS's are.
pub(super) fn secret(bytes: &[u8]) -> String {
    base64::prelude::BASE64_STANDARD.encode(bytes).chars().take(40).collect()
}
