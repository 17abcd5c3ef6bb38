//! How Querist speaks with servers: whom it believes, and how long it waits.
#![deny(missing_docs)]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ureq::config::ConfigBuilder;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;
use ureq::{Agent, Error};

/// What every client begins with: the status of an answer is its reader's matter, and no wait is for ever.
pub fn client() -> ConfigBuilder<AgentScope> {
    let seconds = |n| Some(Duration::from_secs(n));
    Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("querist/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(seconds(30))
        .timeout_recv_response(seconds(60))
        .timeout_per_read(seconds(60))
        .tls_config(TlsConfig::builder().root_certs(roots()).build())
}

/// Why an answer did not come, in a sentence.
pub fn reason(error: &Error) -> String {
    let text = error.to_string();
    match text.contains("UnknownIssuer") {
        true => "its certificate is signed by nobody whom this machine believes; where a firm or university signs for \
                 its network, SSL_CERT_FILE names the file of its certificates"
            .to_owned(),
        false => text,
    }
}

/// Whose signatures are believed: those whom the machine believes (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), or,
/// where it names none, those of the list that Mozilla keeps, which this program holds.
fn roots() -> RootCerts {
    static OF_THE_MACHINE: LazyLock<Arc<Vec<Certificate<'static>>>> = LazyLock::new(|| {
        let found = rustls_native_certs::load_native_certs().certs;
        Arc::new(found.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
    });
    if OF_THE_MACHINE.is_empty() { RootCerts::WebPki } else { RootCerts::Specific(Arc::clone(&OF_THE_MACHINE)) }
}
