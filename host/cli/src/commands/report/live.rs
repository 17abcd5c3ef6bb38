//! `querist report --live`: the page, served to a browser on this machine while runs go on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use querist_protocol::Shown;
use serde_json::json;

use super::watch::{Made, Watch};
use crate::loopback::{Asked, Method, Reply, Server, Site};
use crate::{output, progress};

/// Time between two looks at the folders at least; where looking takes long it is looked more seldom.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is served.
struct Served {
    page: Arc<str>,
    digest: String,
    /// Why the folders cannot be looked at any more.
    trouble: Option<String>,
}

/// What everybody asks.
struct Live(Mutex<Served>);

impl Site for Live {
    fn answer(&self, asked: &Asked<'_>) -> Reply {
        match (asked.method, asked.path, asked.query) {
            (Method::Get, "", "") => Reply::html(Arc::clone(&lock(&self.0).page)),
            (Method::Get, "state", "") => {
                let Served { digest, trouble, .. } = &*lock(&self.0);
                Reply::json(&json!({ "digest": digest, "trouble": trouble }))
            }
            _ => Reply::nothing(),
        }
    }
}

/// Serves the report of some folders until the user wants to stop.
pub fn serve(folders: &[PathBuf], curves_by: &[String], port: Option<u16>) -> Result<()> {
    progress::stop_on_interrupt()?;
    let mut watch = Watch::new(folders, curves_by);
    let first = watch.page()?.context("the first page is never like one before")?;
    let server = Server::listen(port)?;
    let address = server.address();
    let live = Arc::new(Live(Mutex::new(Served { page: first.page.into(), digest: first.digest, trouble: None })));
    server.answer(Arc::<Live>::clone(&live))?;
    output::line(&address)?;
    output::note("open this address in a browser on this machine; Ctrl-C ends it");
    keep_up_to_date(&mut watch, &live.0);
    Ok(())
}

/// Makes the page anew whenever something changed, until the user wants to stop.
fn keep_up_to_date(watch: &mut Watch<'_>, served: &Mutex<Served>) {
    let mut took = Duration::ZERO;
    loop {
        let begun = Instant::now();
        while begun.elapsed() < LOOK_EVERY.max(2 * took) {
            if progress::stopped() {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        let clock = Instant::now();
        let made = watch.page();
        let mut now = lock(served);
        match made {
            Ok(made) => {
                now.trouble = None;
                if let Some(Made { page, digest }) = made {
                    (now.page, now.digest) = (page.into(), digest);
                }
            }
            Err(error) => now.trouble = Some(Shown::sentence(&format!("{error:#}")).into_string()),
        }
        took = clock.elapsed();
    }
}

/// A poisoned lock only means that another thread panicked while it looked.
fn lock(served: &Mutex<Served>) -> MutexGuard<'_, Served> {
    served.lock().unwrap_or_else(PoisonError::into_inner)
}
