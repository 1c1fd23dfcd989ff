//! `tokensmith clock`: the clock of a server that was started with `--test-clock`.

use clap::Args;
use serde_json::{Value, json};
use tokensmith_api::{GoDuration, moment};

use crate::client::connect;
use crate::client::flags::ClientFlags;
use crate::failure::Failure;
use crate::output::{self, Output};

const EXAMPLES: &str = "Examples:
  tokensmith clock

  # an hour passes: what is due by then is done when the command ends
  tokensmith clock --advance 1h

  # the wall clock is set back by a time server, and no time passes
  tokensmith clock --set 2026-01-01T00:00:00Z --jump";

/// Where it is.
const PATH: &str = "/testing/v1/clock";

/// Show or move the clock of a server with --test-clock
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ClockArgs {
    /// Let this time pass, e.g. 90m, 1h30m or 7d
    #[arg(long, value_name = "DURATION", conflicts_with = "set")]
    advance: Option<GoDuration>,

    /// Set it to this time (RFC 3339), later or earlier
    #[arg(long, value_name = "TIME")]
    set: Option<String>,

    /// Move the wall clock alone, as a time server does: no time passes
    #[arg(long)]
    jump: bool,

    /// In which form
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    client: ClientFlags,
}

impl ClockArgs {
    /// Moves it, and shows it.
    ///
    /// # Errors
    /// The server's refusal, or it has no such clock.
    pub async fn run(self) -> Result<(), Failure> {
        let change = match (&self.advance, &self.set) {
            (Some(span), _) => Some(json!({ "advance": span.to_string(), "jump": self.jump })),
            (None, Some(time)) if moment::parse(time).is_err() => {
                return Err(Failure::usage(format!(
                    "--set {time:?}: give a time such as 2030-01-01T00:00:00Z"
                )));
            }
            (None, Some(time)) => Some(json!({ "now": time, "jump": self.jump })),
            (None, None) if self.jump => {
                return Err(Failure::usage(
                    "--jump goes with --advance or --set; see `tokensmith clock --help`",
                ));
            }
            (None, None) => None,
        };
        let client = connect(&self.client.target()?)?;
        let answer = match &change {
            Some(change) => client.put(PATH, change).await?,
            None => client.get(PATH).await?,
        };
        let answer = answer.map_err(|refusal| match refusal.code {
            404 => Failure::failed(
                "this server's clock is the machine's: one that can be moved is started with --ephemeral --test-clock",
            ),
            _ => Failure::failed(format!("the clock stays as it is: {}", refusal.message)),
        })?;
        let now = || format!("{}\n", answer.get("now").and_then(Value::as_str).unwrap_or_default());
        Ok(output::print(self.output, &answer, now)?)
    }
}
