//! Whom a source asks for its tokens.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use tokensmith_core::random;

use super::{BearerToken, TokenError, TokenRequestTemplate, TokenSource};
use crate::api::{ApiError, ApiServer, TokenSpec};
use crate::exchange::{ExchangeSpec, Exchanger, Subject};
use crate::refresh::{Failure, Jitter, RefreshError, TokenAsk};

/// Whom it asks.
pub(super) enum Origin {
    /// An API server, for an account's tokens.
    Api { api: Arc<dyn ApiServer>, template: TokenRequestTemplate },
    /// A token endpoint, for another source's.
    Exchange(ExchangeOrigin),
}

pub(super) struct ExchangeOrigin {
    exchanger: Exchanger,
    subject: TokenSource,
    /// Which of the subject source's tokens are given.
    subject_audience: Option<String>,
    spec: ExchangeSpec,
    /// All tokens that are held were made of this one, or of a later one.
    made_of: Mutex<Option<Arc<BearerToken>>>,
}

impl Origin {
    /// The request for an audience's token; the empty one is the default.
    pub(super) fn ask(self: &Arc<Self>, audience: &str) -> TokenAsk {
        let (me, audience) = (self.clone(), audience.to_owned());
        async move {
            match &*me {
                Origin::Api { api, template } => api.token(&spec(template, &audience)).await,
                Origin::Exchange(exchange) => exchange.token(&audience).await,
            }
        }
        .boxed()
    }

    /// Where in its period a token is replaced, so that many sidecars do not move as one.
    pub(super) fn jitter(&self, audience: &str) -> Jitter {
        // Nothing else tells replicas apart.
        let random = || random::uuid().to_string();
        match self {
            Origin::Api { template, .. } => {
                let uid = template.pod.as_ref().map_or_else(random, |pod| pod.uid.clone());
                Jitter::of(&template.namespace, &uid, &template.account, audience)
            }
            Origin::Exchange(_) => Jitter::of("", &random(), "exchange", audience),
        }
    }

    pub(super) fn log_recovery(&self, audience: &str) {
        match self {
            Origin::Api { template, .. } => {
                let (namespace, account) = (&template.namespace, &template.account);
                tracing::info!(sa.namespace = %namespace, sa.name = %account, "a token could be had again");
            }
            Origin::Exchange(_) => tracing::info!(audience, "the token can be exchanged again"),
        }
    }

    /// All failures are counted in the source's status.
    pub(super) fn log_failure(&self, audience: &str, failure: &Failure, before: Option<&str>) {
        let Failure { count: failures, message: cause, .. } = failure;
        match self {
            Origin::Api { template, .. } => {
                let (namespace, account) = (&template.namespace, &template.account);
                if failure.is_news(before) {
                    tracing::warn!(sa.namespace = %namespace, sa.name = %account, failures, cause, "cannot get a token");
                } else {
                    tracing::debug!(sa.namespace = %namespace, sa.name = %account, failures, cause, "cannot get a token");
                }
            }
            Origin::Exchange(_) if failure.is_news(before) => {
                tracing::warn!(audience, failures, cause, "cannot exchange the token");
            }
            Origin::Exchange(_) => tracing::debug!(audience, failures, cause, "cannot exchange the token"),
        }
    }
}

fn spec(template: &TokenRequestTemplate, audience: &str) -> TokenSpec {
    TokenSpec {
        namespace: template.namespace.clone(),
        account: template.account.clone(),
        audiences: Some(audience).filter(|a| !a.is_empty()).map(str::to_owned).into_iter().collect(),
        expiration_seconds: template.expiration_seconds,
        pod: template.pod.clone(),
    }
}

impl ExchangeOrigin {
    pub(super) fn new(
        exchanger: Exchanger,
        subject: TokenSource,
        subject_audience: Option<String>,
        spec: ExchangeSpec,
    ) -> Self {
        let exchanger = exchanger.for_bearers();
        ExchangeOrigin { exchanger, subject, subject_audience, spec, made_of: Mutex::default() }
    }

    /// Whether there is a token to give.
    pub(super) async fn subject_healthy(&self) -> Result<(), TokenError> {
        self.subject.healthy().await
    }

    /// The token that would be given now.
    pub(super) async fn subject(&self) -> Result<Arc<BearerToken>, TokenError> {
        self.subject.token(self.subject_audience.as_deref()).await
    }

    async fn token(&self, audience: &str) -> Result<crate::api::IssuedToken, ApiError> {
        let given = self.subject().await.map_err(without_subject)?;
        self.made_of.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| given.clone());
        let mut spec = self.spec.clone();
        if !audience.is_empty() {
            spec.audience = vec![audience.to_owned()];
        }
        let subject = Subject { token: given.token.clone(), ends: given.usable_until() };
        let answer = self.exchanger.exchange(&subject, &spec).await;
        if let Err(ApiError::Status { reason, .. }) = &answer
            && matches!(reason.as_str(), "invalid_grant" | "invalid_request")
        {
            // It may have been revoked. RFC 8693 §2.2.2 calls that an invalid request, others an invalid grant.
            self.subject.rejected(self.subject_audience.as_deref(), &given);
        }
        answer
    }

    /// Whether tokens that are held may have been made of another one than this. It is known from now on.
    pub(super) fn is_another(&self, given: &Arc<BearerToken>) -> bool {
        let mut made_of = self.made_of.lock().unwrap_or_else(PoisonError::into_inner);
        let another = made_of.as_ref().is_some_and(|known| known.token != given.token);
        if another {
            *made_of = Some(given.clone());
        }
        another
    }
}

/// There is no token to give.
fn without_subject(error: TokenError) -> ApiError {
    match error {
        TokenError::Refresh(RefreshError::Api(error)) => error,
        error => ApiError::Unreachable(format!("there is no token to exchange: {error}")),
    }
}
