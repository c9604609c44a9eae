//! `pechat serve`: all wiring. Signer process, clock, journals, time-stamping unit, certificates,
//! listeners, in the order in which each needs the one before.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::validation::Bundles;
use super::{heads, layout};
use crate::access::Directory;
use crate::certificate::{self, Ca, Issuer};
use crate::clock::{self, Clock, Transition};
use crate::config::Config;
use crate::http::listen::{Door, listen};
use crate::http::{self, App, Front};
use crate::identifier::Identifiers;
use crate::institution::Environment;
use crate::journal::{Journals, OwnJournal, Parts, RequestId, StampFn, Tuning};
use crate::keys::{Keys, PinnedKeys, client};
use crate::timestamp::{Authority, RecordFn, UnitParts};
use crate::witness;

/// A caller waits this long for a signature before it is told that the HSM does not answer.
const SIGN_DEADLINE: Duration = Duration::from_secs(8);
/// How often lists are looked at; they are renewed at half of their life.
const LIST_ROUND: Duration = Duration::from_secs(60);

/// Arguments of `pechat serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration file.
    #[arg(long, default_value = super::CONFIG_PATH)]
    config: PathBuf,
    /// Write the log as JSON lines.
    #[arg(long)]
    log_json: bool,
}

/// Why the service could not start or had to stop: what, and about which thing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServeError(pub(super) String);

/// Attaches what was being done to an error.
pub(super) fn during<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> ServeError {
    move |error| ServeError(format!("{what}: {error}"))
}

/// Runs until SIGTERM or SIGINT, then drains.
pub fn run(args: ServeArgs) -> Result<(), ServeError> {
    let config = Config::load(&args.config).map_err(|e| ServeError(e.to_string()))?;
    crate::telemetry::log_to_stderr(args.log_json);
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    layout::must_be_initialised(&config)?;
    let _held = layout::lock(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(during("cannot start the runtime"))?.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), ServeError> {
    let pinned = PinnedKeys::load(&layout::keys(&config)).map_err(during("pinned keys"))?;
    let keys = client::connect(pinned, layout::signer(&config)?, config.hsm.queue, SIGN_DEADLINE);
    let keys = keys.await.map_err(during("HSM"))?;
    let (clock, transitions) = clock::start(config.clock.clone(), None).map_err(during("clock"))?;
    let (stamp, authority_for_stamp) = late_stamp();
    let journals = open_journals(&config, &keys, &clock, stamp).await?;
    if let Some(mark) = journals.last_time() {
        clock.raise_high_water(mark);
    }
    let authority = open_authority(&config, &keys, &clock, &journals)?;
    // The cell is empty: it was made above and is filled only here.
    let _ = authority_for_stamp.set(authority.clone());
    let directory = Directory::default();
    let issuer = open_issuer(&config, &keys, &journals, &directory)?;
    let front = Front::publishing(config.limits.clone(), config.journal.public_tiles);
    let identifiers = Identifiers::new(&config.identifiers, journals.clone(), clock.clone());
    let identifiers = identifiers.map_err(during("identifiers"))?;
    let app = App { journals, authority, clock, keys, issuer, directory, identifiers, front };

    tokio::spawn(journal_transitions(app.journals.clone(), transitions));
    tokio::spawn(renew_lists(app.issuer.clone(), app.journals.clone()));
    let witnesses = witness::rounds::start(&app.journals, &config.journal.witness, config.data("witness"));
    let _rounds = witnesses.map_err(during("witnesses"))?;
    let published = heads::Published::start(config.head_file(), app.journals.clone());
    note(&app.journals, json!({"event": "start", "version": env!("CARGO_PKG_VERSION")})).await?;
    let chain = ["tsu-1", "root"].map(|name| layout::certificate(&config, name));
    let chain = chain.into_iter().collect::<Result<_, _>>()?;
    let bundles = Bundles { dir: config.data("validation"), chain };
    tokio::spawn(bundles.run(app.issuer.clone(), app.journals.clone()));
    let ended = run_listeners(&config, app.clone()).await;
    note(&app.journals, json!({"event": "stop"})).await?;
    published.stop().await;
    if let Some(control) = app.keys.control() {
        control.stop().await;
    }
    ended
}

/// A stamp function for the journals, and the cell for the authority that will serve it: journals
/// come first, since they know the time below which no token may go.
fn late_stamp() -> (StampFn, Arc<OnceLock<Authority>>) {
    let cell = Arc::new(OnceLock::<Authority>::new());
    let filled = cell.clone();
    let stamp: StampFn = Arc::new(move |imprint| {
        let authority = filled.get().cloned();
        Box::pin(async move {
            let authority = authority.ok_or("the time-stamping unit is not loaded yet")?;
            authority.stamp_batch(imprint).await.map_err(|e| e.to_string())
        })
    });
    (stamp, cell)
}

/// Journals on the configured directory.
pub(super) async fn open_journals(
    config: &Config,
    keys: &Keys,
    clock: &Clock,
    stamp: StampFn,
) -> Result<Journals, ServeError> {
    let parts = Parts {
        dir: config.data("journal"),
        site: config.site.clone(),
        keys: keys.clone(),
        head_key: layout::label("journal-head")?,
        stamp,
        clock: clock.clone(),
        segment_bytes: config.journal.segment_bytes,
    };
    let known = heads::known(config, keys)?;
    Journals::open_knowing(parts, Tuning::default(), known).await.map_err(during("journals"))
}

fn open_authority(
    config: &Config,
    keys: &Keys,
    clock: &Clock,
    journals: &Journals,
) -> Result<Authority, ServeError> {
    let unit = UnitParts {
        key: layout::label("tsu-1")?,
        certificate: layout::certificate(config, "tsu-1")?,
        chain: Vec::new(),
        policy: config.timestamp.policy.clone(),
        accepted_policies: config.timestamp.accepted_policies.clone(),
    };
    let mark = journals.last_time().unwrap_or_default().0;
    let authority =
        Authority::new(unit, keys.clone(), clock.clone(), mark).map_err(during("time-stamping unit"))?;
    authority.record_with(recorder(journals, OwnJournal::Timestamps));
    Ok(authority)
}

/// Writes details to one of the appliance's own journals.
pub(super) fn recorder(journals: &Journals, own: OwnJournal) -> RecordFn {
    let journals = journals.clone();
    Arc::new(move |id, detail| {
        let journals = journals.clone();
        Box::pin(async move {
            let recorded = journals.record(own, RequestId(id), detail).await;
            recorded.map(|_| ()).map_err(|e| e.to_string())
        })
    })
}

/// The issuer on the configured store.
pub(super) fn open_issuer(
    config: &Config,
    keys: &Keys,
    journals: &Journals,
    directory: &Directory,
) -> Result<Issuer, ServeError> {
    let ca = |name: &str| -> Result<Ca, ServeError> {
        Ok(Ca { label: layout::label(name)?, certificate: layout::certificate(config, name)? })
    };
    let mut cas = Vec::new();
    for environment in Environment::ALL {
        cas.push((environment, ca(&format!("ca-{}", environment.as_str()))?));
    }
    let parts = certificate::Parts {
        store: config.data("store.sqlite"),
        keys: keys.clone(),
        record: recorder(journals, OwnJournal::Certificates),
        directory: directory.clone(),
        root: Ca { label: layout::label("root-ca")?, certificate: layout::certificate(config, "root")? },
        cas,
        admits: vec![Environment::Production],
        public_url: config.listen.public_url.clone(),
    };
    Issuer::open(parts).map_err(during("certificates"))
}

async fn run_listeners(config: &Config, app: App) -> Result<(), ServeError> {
    let tls = layout::tls(config)?;
    let doors = [
        (config.listen.api, Door::Mutual(tls), http::api(app.clone()).0),
        (config.listen.public, Door::Plain, http::public(app.clone())),
        (config.listen.metrics, Door::Plain, http::metrics(app)),
    ];
    let (stop, stopped) = watch::channel(false);
    let mut listeners = Vec::new();
    for (address, door, router) in doors {
        let listener =
            TcpListener::bind(address).await.map_err(during(&format!("cannot listen on {address}")))?;
        let (limits, stopped) = (config.limits.clone(), stopped.clone());
        listeners.push(tokio::spawn(async move { listen(listener, door, router, &limits, stopped).await }));
    }
    tracing::info!(api = %config.listen.api, public = %config.listen.public, "listening");
    wait_for_the_end().await?;
    tracing::info!("ending: requests under way have 10 s");
    stop.send_replace(true);
    for listener in listeners {
        listener.await.map_err(during("a listener failed"))?;
    }
    Ok(())
}

/// Returns at SIGTERM or SIGINT.
pub(super) async fn wait_for_the_end() -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(during("signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(during("signals"))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Every transition of the clock is an entry of `own.clock`.
async fn journal_transitions(journals: Journals, mut transitions: UnboundedReceiver<Transition>) {
    while let Some(transition) = transitions.recv().await {
        let detail = serde_json::to_vec(&transition).unwrap_or_default();
        if let Err(error) = journals.record(OwnJournal::Clock, layout::fresh_id(), detail).await {
            tracing::error!(%error, "a transition of the clock could not be recorded");
        }
    }
}

/// Lists are renewed at half of their life, whatever the clock says now: an old list helps nobody.
/// In quarantine none is made: what was revoked since might be missing from it.
async fn renew_lists(issuer: Issuer, journals: Journals) {
    loop {
        if journals.quarantine().is_none()
            && let Err(error) = issuer.refresh_crls(clock::system::now()).await
        {
            tracing::warn!(%error, "a revocation list could not be renewed");
        }
        tokio::time::sleep(LIST_ROUND).await;
    }
}

/// An event of the appliance's own; in quarantine nothing is written.
async fn note(journals: &Journals, event: serde_json::Value) -> Result<(), ServeError> {
    if let Some(why) = journals.quarantine() {
        tracing::error!(reason = why.reason(), %event, "quarantine: not recorded");
        return Ok(());
    }
    let recorded =
        journals.record(OwnJournal::Events, layout::fresh_id(), event.to_string().into_bytes()).await;
    recorded.map(|_| ()).map_err(during("journal of events"))
}
