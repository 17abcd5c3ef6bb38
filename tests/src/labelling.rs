//! Batches that wait for people, and people who answer them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use querist_people::{Batch, Guess, Looks, Picture, Stage, WAITING};
use serde_json::{Value, json};

use crate::cli::Place;
use crate::serving::Serving;

/// What a batch of a test is like.
pub struct Asked {
    /// How many pictures.
    pub pictures: usize,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// How many people look at each picture.
    pub looks: Looks,
}

impl Asked {
    /// Some pictures of three classes, one look each.
    pub fn of(pictures: usize) -> Self {
        let classes = ["disc", "square", "stripes"].map(str::to_owned).to_vec();
        Self { pictures, classes, looks: Looks::One }
    }

    /// Pictures in `pictures`, and the run `r` that waits for their labels. The model takes each for its own class.
    pub fn wait_in(&self, place: &Place) -> Batch {
        let folder = place.at("pictures");
        fs::create_dir_all(&folder).expect("the folder is ours");
        // Files of their own for the first ones, and links to them for the others.
        const OWN: usize = 60;
        let pictures = (0..self.pictures).map(|at| {
            let name = format!("p{at:06}.png");
            if at < OWN {
                draw(at).save(folder.join(&name)).expect("the folder is ours");
            } else {
                let same = folder.join(format!("p{:06}.png", at % OWN));
                fs::hard_link(same, folder.join(&name)).expect("the folder is ours");
            }
            let class = (at % 3 % self.classes.len()) as u32;
            let guess = Guess { class, probability: 0.5 + (at % 50) as f64 / 100.0 };
            Picture { id: at as u64, name, score: Some(-(at as f64)), guess: Some(guess) }
        });
        let (classes, looks) = (self.classes.clone(), self.looks);
        let (stage, strategy) = (Stage::Round(1), "margin".to_owned());
        let pictures: Vec<Picture> = pictures.collect();
        let batch = Batch { version: 1, stage, strategy, classes, folder, looks, pictures };
        ask(&place.at("r"), &batch);
        batch
    }
}

/// Has a run wait for a batch.
pub fn ask(run: &Path, batch: &Batch) {
    let waiting = run.join(WAITING);
    fs::create_dir_all(&waiting).expect("the folder is ours");
    batch.write(&waiting).expect("it can be asked");
}

/// A small picture of class `at % 3`, each a little different.
fn draw(at: usize) -> image::RgbImage {
    let hue = [[220, 90, 60], [60, 140, 200], [90, 170, 90]][at / 3 % 3];
    let (x0, y0, size) = (10 + at as i32 % 7 * 3, 12 + at as i32 % 5 * 3, 9 + at as i32 % 4);
    image::RgbImage::from_fn(48, 48, |x, y| {
        let (dx, dy) = (x as i32 - x0 - 6, y as i32 - y0 - 4);
        let is_inside = match at % 3 {
            0 => dx * dx + dy * dy < size * size,
            1 => dx.abs() < size && dy.abs() < size,
            _ => (x as i32 + y as i32 + at as i32) / 5 % 2 == 0,
        };
        let noise = ((x * 31 + y * 17 + at as u32 * 7) % 13) as u8;
        let colour = if is_inside { hue } else { [225, 222, 215] };
        image::Rgb(colour.map(|value: u8| value.saturating_sub(noise)))
    })
}

/// Sends a value below the address of a page, and gives what is answered.
#[track_caller]
pub fn post(serving: &Serving, path: &str, value: &Value) -> (u16, String) {
    let body = value.to_string();
    let head = format!("POST {}{path} HTTP/1.1", serving.path());
    let kind = "Content-Type: application/json\r\nConnection: close";
    let length = body.len();
    let request = format!("{head}\r\nHost: {}\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}", serving.host());
    let (status, _, body) = serving.send(&request);
    (status, body)
}

/// The same where it must be done.
#[track_caller]
pub fn done(serving: &Serving, path: &str, value: &Value) -> Value {
    let (status, body) = post(serving, path, value);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("answers are JSON")
}

/// Who asks.
pub fn who(annotator: &str) -> Value {
    json!({ "annotator": annotator, "seat": format!("seat of {annotator}") })
}

/// An answer as the page sends it.
pub fn answer(key: &str, id: u64, said: Value, seen: Option<u64>) -> Value {
    json!({
        "key": key, "id": id, "answer": said, "seconds": 1.5, "guess_shown": false, "third_look": false, "seen": seen,
    })
}

/// A class as an answer.
pub fn class(name: &str) -> Value {
    json!({ "class": name })
}

/// A connection that is kept, as browsers do.
pub struct Kept {
    stream: BufReader<TcpStream>,
    host: String,
    path: String,
}

impl Kept {
    /// Connects to a page.
    pub fn to(serving: &Serving) -> Self {
        let stream = TcpStream::connect(serving.host()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket has a limit");
        let (host, path) = (serving.host().to_owned(), serving.path().to_owned());
        Self { stream: BufReader::new(stream), host, path }
    }

    /// Sends a value and gives the answer; `None` where the other side went away.
    pub fn post(&mut self, path: &str, value: &Value) -> Option<(u16, Vec<u8>)> {
        let body = value.to_string();
        let (below, host, length) = (&self.path, &self.host, body.len());
        let request = format!(
            "POST {below}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(request.as_bytes()).ok()?;
        self.answered()
    }

    /// Asks for something.
    pub fn get(&mut self, path: &str) -> Option<(u16, Vec<u8>)> {
        let request = format!("GET {}{path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.path, self.host);
        self.stream.get_mut().write_all(request.as_bytes()).ok()?;
        self.answered()
    }

    fn answered(&mut self) -> Option<(u16, Vec<u8>)> {
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if status.is_none() {
                status = line.split(' ').nth(1)?.parse().ok();
            }
            if let Some(bytes) = line.strip_prefix("Content-Length: ") {
                length = bytes.parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        Some((status?, body))
    }
}
