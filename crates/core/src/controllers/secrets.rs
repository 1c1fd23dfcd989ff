//! Secrets that ask for a token of their account get one, and go with their account
//! (`pkg/controller/serviceaccount/tokens_controller.go`).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokensmith_objects::Object;

use super::Controllers;
use crate::error::Error;
use crate::registry::{DeleteOptions, Request, Subresource, core_kind, system};
use crate::tokens::Reference;
use crate::tokens::legacy::{ACCOUNT, ACCOUNT_UID, SECRET_TYPE, mint};

impl Controllers {
    /// An account has changed or gone: so may its Secrets.
    pub(super) async fn account(&self, namespace: &str, name: &str) -> Result<(), Error> {
        self.registry.furnish(namespace).await?;
        let snapshot = self.registry.snapshot();
        let of = |secret: &Object| asks(secret) && secret.annotation(ACCOUNT) == Some(name);
        for (_, secret) in snapshot.list("", "secrets", namespace).filter(|(_, s)| of(s)) {
            self.secret(namespace, secret.name()).await?;
        }
        Ok(())
    }

    pub(super) async fn secret(&self, namespace: &str, name: &str) -> Result<(), Error> {
        let kind = core_kind("secrets");
        let Ok(secret) = self.registry.get(kind, namespace, name) else { return Ok(()) };
        if !asks(&secret) || secret.deletion_timestamp().is_some() {
            return Ok(());
        }
        let user = system();
        let account = secret.annotation(ACCOUNT).unwrap_or_default();
        let owner = self.registry.get(core_kind("serviceaccounts"), namespace, account).ok();
        let bound_to = secret.annotation(ACCOUNT_UID).unwrap_or_default();
        // Without its account, or with another one of the same name, the token is worth nothing.
        let Some(owner) = owner.filter(|o| bound_to.is_empty() || bound_to == o.uid()) else {
            let options = DeleteOptions::default().of(secret.uid());
            return self
                .registry
                .delete(&mut Request::by(&user), kind, namespace, name, &options)
                .await
                .map(drop);
        };
        let mut filled = (*secret).clone();
        filled.set(&["metadata", "annotations", ACCOUNT_UID], owner.uid());
        filled.set(&["data", "ca.crt"], BASE64_STANDARD.encode(&self.root_ca));
        filled.set(&["data", "namespace"], BASE64_STANDARD.encode(namespace));
        if secret.str_at(&["data", "token"]).is_empty() {
            let token = mint(&self.keys, namespace, name, &Reference::new(account, owner.uid())).await?;
            filled.set(&["data", "token"], BASE64_STANDARD.encode(token));
        }
        if filled == *secret {
            return Ok(());
        }
        self.registry
            .update(&mut Request::by(&user), kind, namespace, name, Subresource::None, filled)
            .await
            .map(drop)
    }
}

fn asks(secret: &Object) -> bool {
    secret.str_at(&["type"]) == SECRET_TYPE
}
