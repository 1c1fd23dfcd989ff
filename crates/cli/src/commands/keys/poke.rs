//! `keys poke`: make verifiers fetch.

use clap::Args;
use serde_json::json;

use super::{PATH, client, followers, refused, text};
use crate::client::flags::ClientFlags;
use crate::failure::Failure;
use crate::output::{self, Output};

/// Make verifiers fetch the key set.
#[derive(Args, Debug)]
#[command(after_help = "\
After `tokensmith keys revoke`, many verifiers go on taking the revoked key's tokens until they meet a kid that they do not
know: go-oidc v3 (oauth2-proxy, Dex, Vault's JWT auth) for ever. The token that is printed has this issuer, the audience and
good times, but a kid that is no key's and no valid signature: every verifier refuses it, and most fetch the key set. Show it
to each replica of each verifier, and to some again when the time has come that the table on standard error tells:

  curl -H \"Authorization: Bearer $(tokensmith keys poke --audience https://app.example.com)\" https://app.example.com/")]
pub struct PokeArgs {
    /// What the verifiers' tokens are for
    #[arg(long, value_name = "AUDIENCE")]
    audience: String,

    /// Print the whole answer in this form, instead of the token
    #[arg(long, short, value_enum)]
    output: Option<Output>,

    #[command(flatten)]
    client: ClientFlags,
}

impl PokeArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let body = json!({ "audience": self.audience });
        let answer = client(&self.client)?.post(&format!("{PATH}/poke"), &body).await?;
        let answer = answer.map_err(|r| refused("make a token", r))?;
        match self.output {
            None => {
                output::aside_text(&format!("{}\n{}", text(&answer, "text"), followers(&answer)));
                Ok(output::print_value(text(&answer, "token"))?)
            }
            Some(form) => Ok(output::print(form, &answer, || followers(&answer))?),
        }
    }
}
