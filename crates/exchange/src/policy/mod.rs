//! The policy: who gets what. Read from a file, compiled as a whole and exchanged as a whole: a request sees the old one or the
//! new one, and parses nothing.

mod compile;
mod file;
mod from;
mod rules;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use tokensmith_core::clock::{Clock, SystemClock};
use tokensmith_core::tokens::pattern::Pattern;
use tokensmith_server::metrics::Metrics;
use tokensmith_verify::trust::{KeySource, TrustedIssuer, TrustedIssuers};

use crate::said;
pub use file::PolicyError;
pub(crate) use file::{RawGrant as GrantType, RawMay as May};
pub(crate) use from::{Fallen, From};
pub(crate) use rules::{Lacks, Rule, Rules, VARIABLES, Wanted};

/// What of the server a policy is held against.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) issuer: String,
    pub(crate) own_issuers: Vec<String>,
    pub(crate) api_audiences: Vec<String>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Option<Arc<Metrics>>,
}

/// A policy that is ready.
pub(crate) struct Policy {
    /// Where the server is reached, without a slash at its end.
    pub(crate) url: String,
    /// What is asked of accounts' tokens.
    pub(crate) accounts: Takes,
    /// What is asked of those of other issuers.
    pub(crate) issuers: HashMap<String, Takes>,
    pub(crate) trusted: Arc<TrustedIssuers>,
    pub(crate) rules: Rules,
    pub(crate) clients: Vec<Arc<Client>>,
    /// What `trusted` was made of.
    list: Vec<TrustedIssuer>,
    cas: Option<Vec<u8>>,
    ca_file: Option<PathBuf>,
}

/// What is asked of an issuer's tokens.
pub(crate) struct Takes {
    /// What they must be for, one of them.
    pub(crate) audiences: Vec<String>,
    /// Whether an assertion counts once.
    pub(crate) once: bool,
}

impl Takes {
    /// Whether a token with these audiences is for this endpoint.
    pub(crate) fn one_of<T: AsRef<str>>(&self, audiences: &[T]) -> Result<(), String> {
        if audiences.iter().any(|audience| self.audiences.iter().any(|own| own == audience.as_ref())) {
            return Ok(());
        }
        let (accepted, has) = (said::texts(&self.audiences), said::texts(audiences));
        Err(format!("none of its audiences is this endpoint's: accepted are {accepted}, and it has {has}"))
    }
}

/// Who may introspect or revoke by an assertion.
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) from: From,
    pub(crate) may: Vec<May>,
    pub(crate) audiences: Vec<Pattern>,
}

impl Client {
    /// Whether it may do so with tokens for these audiences.
    pub(crate) fn is_for(&self, audiences: &[String]) -> bool {
        let wanted = &self.audiences;
        wanted.is_empty() || audiences.iter().any(|a| wanted.iter().any(|pattern| pattern.matches(a)))
    }
}

/// The policy in force, and the file behind it.
pub struct Policies {
    /// What paths in the file are relative to.
    folder: PathBuf,
    context: OnceLock<Context>,
    text: Mutex<Vec<u8>>,
    current: ArcSwap<Policy>,
    refused: AtomicBool,
}

impl Policies {
    /// Reads a policy (YAML). Paths in it are relative to `folder`. What it says of the API's audiences is held against them once a
    /// server has it.
    ///
    /// # Errors
    /// It cannot be used; says where and why.
    pub fn open(text: &[u8], folder: impl Into<PathBuf>) -> Result<Arc<Self>, PolicyError> {
        let folder = folder.into();
        let nobody = Context {
            issuer: "https://issuer.invalid".into(),
            own_issuers: Vec::new(),
            api_audiences: Vec::new(),
            clock: Arc::new(SystemClock::new()),
            metrics: None,
        };
        let policy = compile::policy(text, &folder, &nobody, None)?;
        Ok(Arc::new(Policies {
            folder,
            context: OnceLock::new(),
            text: Mutex::new(text.to_vec()),
            current: ArcSwap::from_pointee(policy),
            refused: AtomicBool::new(false),
        }))
    }

    /// Holds it against a server, which has it from now on.
    pub(crate) fn bind(&self, context: Context) -> Result<(), PolicyError> {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let policy = compile::policy(&text, &self.folder, &context, None)?;
        // Two servers with one policy: the first one's issuer is in it.
        if self.context.set(context).is_err() {
            return Err(PolicyError { line: 0, column: 0, problem: "another server has this policy".into() });
        }
        self.current.store(Arc::new(policy));
        Ok(())
    }

    /// Reads the file's text anew. One that cannot be used changes nothing, and shows in the metrics.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn reload(&self, text: &[u8]) -> Result<(), PolicyError> {
        let Some(context) = self.context.get() else {
            let read = Self::open(text, &self.folder)?;
            text.clone_into(&mut self.text.lock().unwrap_or_else(PoisonError::into_inner));
            self.current.store(read.current.load_full());
            return Ok(());
        };
        let made = compile::policy(text, &self.folder, context, Some(&self.current.load()));
        self.tell(made.is_err());
        self.current.store(Arc::new(made?));
        Ok(())
    }

    /// The file could not be read at all.
    pub fn unreadable(&self) {
        self.tell(true);
    }

    fn tell(&self, refused: bool) {
        self.refused.store(refused, Ordering::Relaxed);
        if let Some(metrics) = self.context.get().and_then(|context| context.metrics.as_ref()) {
            metrics.exchange_policy(refused);
        }
    }

    /// The files that the policy names: what they hold is believed, so who may write them matters.
    pub fn files(&self) -> Vec<PathBuf> {
        let current = self.current.load();
        let sets = current.list.iter().filter_map(|issuer| match &issuer.keys {
            KeySource::File(path) => Some(path.clone()),
            _ => None,
        });
        sets.chain(current.ca_file.clone()).collect()
    }

    /// Whether what was read last was refused, and an older policy is in force.
    pub fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn current(&self) -> Arc<Policy> {
        self.current.load_full()
    }
}
