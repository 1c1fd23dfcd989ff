//! `tokensmith keys …`: the server's key ring, seen through its own endpoint (openapi/tokensmith.yaml).

use clap::{Args, Subcommand};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;

use crate::client::flags::ClientFlags;
use crate::client::http::Client;
use crate::client::target::Target;
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::times;

const PATH: &str = "/tokensmith/v1/keys";

/// Look at the signing keys.
#[derive(Args, Debug)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// List the keys with their phases and times; never their private halves
    List(ListArgs),
}

/// List the keys.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  tokensmith keys list\n  tokensmith keys list --output json")]
struct ListArgs {
    /// In which form
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    client: ClientFlags,
}

impl KeysArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn run(self) -> Result<(), Failure> {
        let KeysCommand::List(args) = self.command;
        let client = Client::new(&Target::resolve(&args.client)?)?;
        let keys = client.get(PATH).await?;
        let keys = keys.map_err(|r| Failure::failed(format!("failed to list keys: {}", r.message)))?;
        Ok(output::print(args.output, &keys, || table(&keys, SystemClock::new().now()))?)
    }
}

fn table(list: &Value, now: OffsetDateTime) -> String {
    let keys = list.get("keys").and_then(Value::as_array);
    let rows: Vec<_> = keys.into_iter().flatten().map(|key| row(key, now)).collect();
    output::columns(&["ID", "ALGORITHM", "PHASE", "SINCE", "PUBLISHED", "LAST TOKEN EXPIRES"], &rows)
}

fn row(key: &Value, now: OffsetDateTime) -> Vec<String> {
    let text = |field: &str| key.get(field).and_then(Value::as_str).unwrap_or_default();
    let age = |field: &str| match OffsetDateTime::parse(text(field), &Rfc3339) {
        Ok(at) => times::distance(at - now),
        Err(_) => "-".to_owned(),
    };
    vec![
        text("id").to_owned(),
        text("algorithm").to_owned(),
        text("phase").to_owned(),
        age("since"),
        age("publishedAt"),
        age("lastExpiration"),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_row_per_key() {
        let list = json!({ "keys": [
            { "id": "k1", "algorithm": "RS256", "phase": "Active", "since": "2026-01-01T10:00:00Z",
              "publishedAt": "2026-01-01T09:00:00Z", "lastExpiration": "2026-01-01T12:00:00Z" },
            { "id": "k2", "algorithm": "ES256", "phase": "Prepared", "since": "2026-01-01T10:00:00Z" },
        ]});
        assert_eq!(
            table(&list, datetime!(2026-01-01 11:00 UTC)),
            "ID   ALGORITHM   PHASE      SINCE    PUBLISHED   LAST TOKEN EXPIRES\n\
             k1   RS256       Active     1h ago   2h ago      in 1h\n\
             k2   ES256       Prepared   1h ago   -           -\n"
        );
    }
}
