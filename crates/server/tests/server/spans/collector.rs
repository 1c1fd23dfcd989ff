//! What is logged while a test runs, on its own thread: each span with its parents, each event with the spans around it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// Collects for as long as it lives.
pub struct Collector {
    logged: Arc<Mutex<Logged>>,
    _here: DefaultGuard,
    /// With one subscriber alone, tracing would ask another test's thread, which has none, whether a place in the code is
    /// wanted, and never come back to it.
    _another: Dispatch,
}

#[derive(Clone, Debug, Default)]
pub struct Logged {
    /// Those around come before those inside.
    pub spans: Vec<Span>,
    pub events: Vec<Line>,
}

#[derive(Clone, Debug)]
pub struct Span {
    pub name: &'static str,
    pub level: Level,
    pub parent: Option<usize>,
    pub fields: BTreeMap<&'static str, String>,
    /// All that it may say.
    pub declared: BTreeSet<&'static str>,
    /// The names of the threads that were in it.
    pub threads: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub target: &'static str,
    pub text: String,
    /// The span around it.
    pub span: Option<usize>,
}

impl Collector {
    pub fn here() -> Self {
        let logged = Arc::<Mutex<Logged>>::default();
        let another = Dispatch::new(Registry::default());
        let here = tracing::subscriber::set_default(Registry::default().with(Collect(logged.clone())));
        Collector { logged, _here: here, _another: another }
    }

    pub fn logged(&self) -> Logged {
        self.logged.lock().unwrap().clone()
    }
}

impl Logged {
    /// The only span of this name inside of another one.
    #[track_caller]
    pub fn one<'a>(&'a self, name: &'a str, within: usize) -> (usize, &'a Span) {
        let found: Vec<_> = self.within(name, within).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found[0]
    }

    /// The spans of a name inside of another one.
    pub fn within<'a>(&'a self, name: &'a str, around: usize) -> impl Iterator<Item = (usize, &'a Span)> {
        let inside =
            move |(at, span): &(usize, &Span)| span.name == name && self.around(*at).contains(&around);
        self.spans.iter().enumerate().filter(inside)
    }

    /// A span and those around it.
    pub fn around(&self, span: usize) -> Vec<usize> {
        std::iter::successors(Some(span), |at| self.spans[*at].parent).collect()
    }

    /// The request that the server has given this id.
    #[track_caller]
    pub fn request(&self, audit_id: &str) -> usize {
        let found = |span: &Span| span.name == "request" && span.fields["audit.id"] == audit_id;
        self.spans.iter().position(found).unwrap_or_else(|| panic!("no request {audit_id}"))
    }

    /// All that a log could show.
    pub fn texts(&self) -> Vec<&str> {
        let spans = self.spans.iter().flat_map(|span| span.fields.values());
        spans.chain(self.events.iter().map(|event| &event.text)).map(String::as_str).collect()
    }
}

struct Collect(Arc<Mutex<Logged>>);

/// Where a span is in the list.
struct At(usize);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collect {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let parent = span.parent().and_then(|parent| parent.extensions().get::<At>().map(|at| at.0));
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let mut logged = self.0.lock().unwrap();
        span.extensions_mut().insert(At(logged.spans.len()));
        let meta = attributes.metadata();
        logged.spans.push(Span {
            name: meta.name(),
            level: *meta.level(),
            parent,
            fields: fields.0,
            declared: meta.fields().iter().map(|field| field.name()).collect(),
            threads: BTreeSet::new(),
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(at) = at(id, &context) else { return };
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.0.lock().unwrap().spans[at].fields.extend(fields.0);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let Some(at) = at(id, &context) else { return };
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        self.0.lock().unwrap().spans[at].threads.insert(thread);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let text = fields.0.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = write!(text, "{name}={value} ");
            text
        });
        let span = context.event_span(event).and_then(|span| span.extensions().get::<At>().map(|at| at.0));
        self.0.lock().unwrap().events.push(Line { target: event.metadata().target(), text, span });
    }
}

fn at<S: Subscriber + for<'a> LookupSpan<'a>>(id: &Id, context: &Context<'_, S>) -> Option<usize> {
    context.span(id)?.extensions().get::<At>().map(|at| at.0)
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
