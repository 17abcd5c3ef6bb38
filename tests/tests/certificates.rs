//! Servers whose certificates the machine's owner signed: believed where the machine believes them, and else refused.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use querist_core::digest::sha256;
use querist_tests::cli::{Place, misbehaving};

/// Makes an authority of ours, and a certificate for this machine that it signed.
fn certificates(folder: &Path) -> bool {
    let openssl = |args: &str| {
        let output = Command::new("openssl").args(args.split(' ')).current_dir(folder).output();
        match output {
            Ok(output) => {
                assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
                true
            }
            Err(_) => false,
        }
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    if !openssl(&format!("req -x509 {key} -keyout authority.key -out authority.pem -days 2 -subj /CN=lab")) {
        eprintln!("skipped: no `openssl`");
        return false;
    }
    openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"));
    fs::write(folder.join("names"), "subjectAltName = DNS:localhost\n").unwrap();
    let signed =
        "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile names";
    openssl(&format!("{signed} -out server.pem"))
}

/// A server of a folder's files over https, ended when it is dropped.
struct Server(Child, u16);

impl Server {
    fn start(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-WWW", "-quiet", "-cert", "server.pem", "-key", "server.key", "-accept"]);
        command.arg(format!("127.0.0.1:{port}")).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.stderr(Stdio::null()).spawn().unwrap();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            sleep(Duration::from_millis(20));
        }
        Self(process, port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn whom_the_machine_believes_is_believed() {
    let place = Place::new();
    if !certificates(&place.at(".")) {
        return;
    }
    let component = fs::read(misbehaving().join("misbehaving/misbehaving.wasm")).unwrap();
    place.write("their.wasm", &component);
    let server = Server::start(&place.at("."));
    let address = format!("https://localhost:{}/their.wasm", server.1);
    let digest = format!("sha256:{}", sha256(&component));
    let install = |believed: Option<&str>| {
        let mut command = place.command(&["plugin", "install", &address, "--digest", &digest, "--ignore-signature"]);
        // This server has a page for every name, one of a signature too.
        command.env_remove("SSL_CERT_DIR").env_remove("SSL_CERT_FILE");
        command.envs(believed.map(|file| ("SSL_CERT_FILE", place.at(file))));
        place.said(&command.output().unwrap())
    };
    install(None).fails(1, &["its certificate is signed by nobody whom this machine believes", "SSL_CERT_FILE"]);
    let installed = install(Some("authority.pem"));
    assert_eq!(installed.code, Some(0), "{}", installed.err);
    assert!(place.good(&["plugin", "list"]).contains("misbehaving"));
}
