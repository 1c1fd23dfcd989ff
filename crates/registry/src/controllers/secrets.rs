//! Secrets that ask for a token of their account get one, and go with their account
//! (`pkg/controller/serviceaccount/tokens_controller.go`).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokensmith_objects::Stored;

use super::Controllers;
use super::queue::{Done, Key};
use crate::{DeleteOptions, Request, Subresource, system};
use tokensmith_core::error::Error;
use tokensmith_core::tokens::Reference;
use tokensmith_core::tokens::legacy::{ACCOUNT, ACCOUNT_UID, SECRET_TYPE, mint};
use tokensmith_core::view::object_key;

impl Controllers {
    /// The Secrets with tokens of an account.
    pub(super) fn secrets_of(&self, namespace: &str, account: &str) -> Vec<Key> {
        let snapshot = self.registry.snapshot();
        let names = snapshot.token_secrets(namespace, account);
        names.map(|name| object_key("", "secrets", namespace, name).into()).collect()
    }

    pub(super) async fn secret(&self, namespace: &str, name: &str) -> Result<Done, Error> {
        let kind = &self.registry.core("secrets");
        let Ok(secret) = self.registry.get(kind, namespace, name) else { return Ok(Done::default()) };
        if !asks(&secret) || secret.deletion_timestamp().is_some() {
            return Ok(Done::default());
        }
        let user = system();
        let account = secret.annotation(ACCOUNT).unwrap_or_default();
        let owner = self.registry.get(&self.registry.core("serviceaccounts"), namespace, &account).ok();
        let bound_to = secret.annotation(ACCOUNT_UID).unwrap_or_default();
        // Without its account, or with another one of the same name, the token is worth nothing.
        let Some(owner) = owner.filter(|o| bound_to.is_empty() || bound_to == o.uid()) else {
            let options = DeleteOptions::default().of(secret.uid());
            self.registry.delete(&mut Request::by(&user), kind, namespace, name, &options).await?;
            return Ok(Done::wrote(true));
        };
        let tree = secret.object();
        let mut filled = tree.clone();
        filled.set(&["metadata", "annotations", ACCOUNT_UID], owner.uid());
        filled.set(&["data", "ca.crt"], BASE64_STANDARD.encode(&self.root_ca));
        filled.set(&["data", "namespace"], BASE64_STANDARD.encode(namespace));
        if tree.str_at(&["data", "token"]).is_empty() {
            let token = mint(&self.keys, namespace, name, &Reference::new(&account, owner.uid())).await?;
            filled.set(&["data", "token"], BASE64_STANDARD.encode(token));
        }
        if filled == tree {
            return Ok(Done::default());
        }
        let (request, part) = (&mut Request::by_controller(&user), Subresource::None);
        self.registry.update(request, kind, namespace, name, part, filled).await?;
        Ok(Done::wrote(true))
    }
}

/// Whether a Secret asks for a token.
pub(super) fn asks(secret: &Stored) -> bool {
    secret.text(&["type"]) == SECRET_TYPE
}
