//! Many watchers of one collection, many changes a second: each watcher sees every change, in order, once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokensmith_tests::server::pause;
use tokio::task::JoinSet;

use super::host::Host;
use super::report::{Figures, Unit};
use super::run::Run;
use super::watchers::now_at;
use super::wire::{JSON, STREAMS, Watch, Wire, revision, text, wires};
use crate::now;

const COLLECTION: &str = "/api/v1/namespaces/default/configmaps";
/// Each writes an object of its own, evenly in time, one after the other.
const WRITERS: u32 = 20;
/// Watchers may be behind for so long when the last change is made.
const BEHIND: Duration = Duration::from_secs(60);
/// Buckets of a histogram: eight for each doubling of microseconds.
const BUCKETS: usize = 8 * 40;

pub async fn measure(run: &mut Run) -> Result<()> {
    let (watchers, rate, seconds) = run.size.storm;
    let host = run.in_memory().await?;
    let start = now();
    let writers = wires(&host.server, 2).await?;
    for writer in 0..WRITERS {
        writers[0].write("POST", COLLECTION, JSON, object(writer, start).into()).await?;
    }
    let seen = gather(&host, watchers, start).await?;
    run.quiet().await?;

    let before = host.server.cpu()?;
    let begun = now();
    let made = changes(&writers, (begun, start), rate, Duration::from_secs(seconds)).await?;
    let took = begun.elapsed();
    while !seen.all_have(made.len()) && begun.elapsed() < took + BEHIND {
        pause(Duration::from_millis(20)).await;
    }
    let (late, cpu) = (begun.elapsed() - took, host.server.cpu()? - before);

    // What comes twice may come late.
    pause(Duration::from_millis(500)).await;
    let found = seen.judge(&made)?;
    let wanted = f64::from(rate) * seconds as f64;
    let (all, cpu) = (made.len() as f64, cpu.as_secs_f64());
    let mut say = |id: &str, what: &str, unit, value, target| {
        run.row(&format!("storm/{id}"), what.to_owned(), unit, Figures::one(value), target);
    };
    let what = format!("storm: changes a second, {rate} wanted, {watchers} watchers");
    say("rate", &what, Unit::Count, all / took.as_secs_f64(), None);
    let what = format!("… changes not made in time, of {wanted}");
    say("missed", &what, Unit::Count, wanted - all, Some(wanted / 100.0));
    let what = "… watchers that did not see every change, in order, once";
    say("wrong", what, Unit::Count, found.wrong as f64, Some(0.0));
    say("events", "… events delivered", Unit::Count, found.events as f64, None);
    say("cpu", "… CPU for each, the writes in it", Unit::Seconds, cpu / found.events as f64, None);
    say("cores", "… cores in use", Unit::Times, cpu / (took + late).as_secs_f64(), None);
    say("median", "… from the write's start until it is seen, median", Unit::Seconds, found.median, None);
    say("p99", "… p99", Unit::Seconds, found.p99, None);
    say("behind", "… until the last has seen the last change", Unit::Seconds, late.as_secs_f64(), None);
    Ok(())
}

fn object(writer: u32, start: Instant) -> String {
    // When it was written goes with it, to be compared by who sees it.
    let at = start.elapsed().as_micros();
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"storm-{writer:02}"}},"data":{{"at":"{at:012}"}}}}"#
    )
}

/// Writes at a steady rate for so long; the revisions that it has made, in order.
async fn changes(
    wires: &[Wire],
    (begun, start): (Instant, Instant),
    rate: u32,
    time: Duration,
) -> Result<Vec<u64>> {
    let every = Duration::from_secs(1) * WRITERS / rate;
    let mut workers = JoinSet::new();
    for writer in 0..WRITERS {
        let wire = wires[writer as usize % wires.len()].clone();
        workers.spawn(async move {
            let path = format!("{COLLECTION}/storm-{writer:02}");
            let (mut made, mut due) = (Vec::new(), every * writer / WRITERS);
            while due < time && begun.elapsed() < time {
                pause(due.saturating_sub(begun.elapsed())).await;
                let answer = wire.write("PUT", &path, JSON, object(writer, start).into()).await?;
                made.push(revision(&answer)?);
                due += every;
            }
            anyhow::Ok(made)
        });
    }
    let mut made = Vec::new();
    while let Some(done) = workers.join_next().await {
        made.extend(done??);
    }
    made.sort_unstable();
    Ok(made)
}

/// All watchers.
struct Crowd {
    seen: Vec<Arc<Mutex<Seen>>>,
    /// Ends them when it is dropped.
    _watchers: JoinSet<()>,
}

/// What one watcher has seen.
struct Seen {
    events: usize,
    digest: u64,
    wrong: Option<String>,
    buckets: Vec<u32>,
}

/// What all have seen.
struct Found {
    events: usize,
    wrong: usize,
    median: f64,
    p99: f64,
}

async fn gather(host: &Host, count: usize, start: Instant) -> Result<Crowd> {
    let (mut all, mut tasks) = (Vec::new(), JoinSet::new());
    let wires = wires(&host.server, count.div_ceil(STREAMS)).await?;
    let after = now_at(&wires[0], COLLECTION).await?;
    for at in 0..count {
        let watch = wires[at % wires.len()].watch(COLLECTION, after, "").await?;
        let seen = Seen { events: 0, digest: 0, wrong: None, buckets: vec![0; BUCKETS] };
        let seen = Arc::new(Mutex::new(seen));
        all.push(seen.clone());
        tasks.spawn(follow(watch, seen, start));
    }
    Ok(Crowd { seen: all, _watchers: tasks })
}

async fn follow(mut watch: Watch, seen: Arc<Mutex<Seen>>, start: Instant) {
    let mine = || seen.lock().unwrap_or_else(PoisonError::into_inner);
    let ended = loop {
        match watch.lines(|line| mine().see(line, start)).await {
            Ok(true) => {}
            Ok(false) => break "the watch has ended".to_owned(),
            Err(e) => break format!("{e:#}"),
        }
    };
    mine().wrong = Some(ended);
}

impl Seen {
    fn see(&mut self, line: &[u8], start: Instant) -> Result<()> {
        let short = || String::from_utf8_lossy(&line[..line.len().min(300)]).into_owned();
        ensure!(line.starts_with(br#"{"type":"MODIFIED""#), "{}", short());
        let at: u64 = text(line, "at").with_context(short)?.parse()?;
        self.digest = digest(self.digest, revision(line)?);
        self.events += 1;
        let took = u64::try_from(start.elapsed().as_micros())?.saturating_sub(at).max(1);
        self.buckets[bucket(took)] += 1;
        Ok(())
    }
}

impl Crowd {
    /// Whether each has seen so many changes, or never will.
    fn all_have(&self, changes: usize) -> bool {
        self.each(|seen| seen.events >= changes || seen.wrong.is_some()).all(|done| done)
    }

    fn each<T>(&self, of: impl Fn(&Seen) -> T) -> impl Iterator<Item = T> {
        self.seen.iter().map(move |seen| of(&seen.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Holds what each has seen against what was written.
    fn judge(&self, made: &[u64]) -> Result<Found> {
        let wanted = made.iter().fold(0, |sum, revision| digest(sum, *revision));
        let right = |seen: &Seen| seen.events == made.len() && seen.digest == wanted && seen.wrong.is_none();
        for said in self.each(|seen| seen.wrong.clone()).flatten().take(3) {
            eprintln!("        a watcher: {said}");
        }
        let mut buckets = vec![0u64; BUCKETS];
        for of in self.each(|seen| seen.buckets.clone()) {
            buckets.iter_mut().zip(of).for_each(|(sum, more)| *sum += u64::from(more));
        }
        let events = self.each(|seen| seen.events).sum();
        ensure!(events > 0, "nobody has seen anything");
        Ok(Found {
            events,
            wrong: self.each(right).filter(|right| !right).count(),
            median: quantile(&buckets, 0.5),
            p99: quantile(&buckets, 0.99),
        })
    }
}

/// Of revisions in their order: another order, one more or one less makes another number.
fn digest(sum: u64, revision: u64) -> u64 {
    (sum ^ revision).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5)
}

/// Microseconds by their highest four bits.
fn bucket(micros: u64) -> usize {
    let doublings = micros.max(8).ilog2() - 3;
    let within = (micros.max(8) >> doublings) - 8;
    (doublings as usize * 8 + within as usize).min(BUCKETS - 1)
}

/// The upper end of the bucket that so many have not exceeded, in seconds.
fn quantile(buckets: &[u64], part: f64) -> f64 {
    let wanted = (buckets.iter().sum::<u64>() as f64 * part).ceil() as u64;
    let mut sum = 0;
    let at = buckets.iter().position(|count| {
        sum += count;
        sum >= wanted
    });
    let at = at.unwrap_or(BUCKETS - 1);
    ((8 + at % 8 + 1) as f64) * 2f64.powi((at / 8) as i32) / 1e6
}
