//! openidconnect: `verifiers ISSUER AUDIENCE CA_FILE`, with the lines of tests/verifiers/go.

use std::error::Error;
use std::io::BufRead;
use std::str::FromStr;

use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreProviderMetadata};
use openidconnect::{ClientId, IssuerUrl, Nonce, reqwest};

fn main() -> Result<(), Box<dyn Error>> {
    let [issuer, audience, ca] = std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "verifiers ISSUER AUDIENCE CA_FILE")?;
    let ca = reqwest::Certificate::from_pem(&std::fs::read(ca)?)?;
    let http = reqwest::blocking::Client::builder().add_root_certificate(ca).build()?;
    let issuer = IssuerUrl::new(issuer)?;
    // The key set is fetched along with the document, and never again.
    let provider = CoreProviderMetadata::discover(&issuer, &http)?;
    let verifier = CoreIdTokenVerifier::new_public_client(ClientId::new(audience), issuer, provider.jwks().clone());
    println!("ready openidconnect {}", version());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let token = line.strip_prefix("verify ").unwrap_or_default();
        match CoreIdToken::from_str(token).map_err(|e| e.to_string()).and_then(|token| {
            // No nonce: nobody has asked for one.
            token.claims(&verifier, |_: Option<&Nonce>| Ok(())).map(|_| ()).map_err(|e| format!("{e}: {:?}", e.source()))
        }) {
            Ok(()) => println!("taken"),
            Err(refusal) => println!("refused: {}", refusal.replace('\n', " ")),
        }
    }
    Ok(())
}

/// The version in the lock file.
fn version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let after = lock.split("name = \"openidconnect\"\nversion = \"").nth(1).unwrap_or_default();
    after.split('"').next().unwrap_or_default()
}
