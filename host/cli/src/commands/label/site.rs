//! What there is under the address of the page.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use querist_people::PeopleError;
use querist_protocol::Shown;
use serde::Deserialize;
use serde_json::{Value, json};

use super::desk::Desk;
use super::said::{self, Answers, Deal, Examples, List, MOST_ANSWERS, MOST_PICTURES, State, Who};
use super::{address, picture};
use crate::loopback::{Asked, Method, Reply, Site};
use crate::people::standing::standing;

/// Bytes of what is sent at once at most.
const MOST_SENT: usize = 256 << 10;
/// What the page may do: show what comes from here, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page, and the programs it consists of; `cargo xtask page` makes them from `page/*.ts`.
const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPTS: [(&str, &str); 11] = [
    ("classes.js", include_str!("page/generated/classes.js")),
    ("dom.js", include_str!("page/generated/dom.js")),
    ("grid.js", include_str!("page/generated/grid.js")),
    ("keys.js", include_str!("page/generated/keys.js")),
    ("main.js", include_str!("page/generated/main.js")),
    ("net.js", include_str!("page/generated/net.js")),
    ("outbox.js", include_str!("page/generated/outbox.js")),
    ("people.js", include_str!("page/generated/people.js")),
    ("sitting.js", include_str!("page/generated/sitting.js")),
    ("stage.js", include_str!("page/generated/stage.js")),
    ("types.js", include_str!("page/generated/types.js")),
];

/// The page of a run.
pub(super) struct Page {
    /// Names the run to the browser, which keeps answers for it.
    key: String,
    /// What people call the run.
    run: String,
    annotator: Option<String>,
    folder: PathBuf,
    desk: Mutex<Desk>,
}

/// What cannot be done is said to the page with a status.
type Answered = Result<Value, Reply>;

impl Page {
    pub fn new(run: &Path, annotator: Option<String>, desk: Desk) -> Self {
        let name = run.file_name().unwrap_or_default().to_string_lossy();
        let run_name = Shown::name(&name).into_string();
        let (key, folder) = (address::name(run), run.to_owned());
        Self { key, run: run_name, annotator, folder, desk: Mutex::new(desk) }
    }

    /// A poisoned lock only means that another thread panicked while it looked.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, path: &str) -> Reply {
        match path {
            "" => Reply::html(PAGE).with_policy(POLICY),
            "style.css" => Reply::text("text/css; charset=utf-8", STYLE),
            "batch" => Reply::json(&self.batch()),
            _ => match (path.strip_prefix("picture/"), SCRIPTS.iter().find(|(name, _)| *name == path)) {
                (Some(id), _) => self.picture(id),
                (None, Some((_, script))) => Reply::text(SCRIPT, *script),
                _ if POSTS.contains(&path) => Reply::wrong_method(),
                _ => Reply::nothing(),
            },
        }
    }

    /// What is asked, but for the pictures, which may be many.
    fn batch(&self) -> Value {
        // A run whose records cannot be read says so where it goes on; its pictures can be answered all the same.
        let standing = standing(&self.folder).ok();
        let desk = self.desk();
        let batch = desk.batch();
        json!({
            "key": self.key, "run": self.run, "annotator": self.annotator, "generation": desk.generation,
            "stage": batch.stage, "strategy": batch.strategy, "classes": batch.classes,
            "looks": batch.looks, "pictures": batch.pictures.len(),
            "standing": standing, "guesses": batch.pictures.iter().any(|picture| picture.guess.is_some()),
        })
    }

    /// A number, and never a name: what a browser asks for leads nowhere but to pictures of the batch.
    fn picture(&self, id: &str) -> Reply {
        let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        let path = is_number.then(|| id.parse().ok()).flatten().and_then(|id| self.desk().path(id));
        path.map_or_else(Reply::nothing, |path| picture::reply(&path))
    }

    fn state(&self, asked: &State) -> Answered {
        check(&asked.who)?;
        Ok(self.desk().state(&asked.who))
    }

    fn leave(&self, asked: &State) -> Answered {
        check(&asked.who)?;
        self.desk().leave(&asked.who);
        Ok(json!({}))
    }

    fn deal(&self, asked: &Deal) -> Answered {
        check(&asked.who)?;
        if asked.want > MOST_PICTURES || asked.held.len() > MOST_PICTURES {
            return Err(bad(&format!("at most {MOST_PICTURES} pictures at once")));
        }
        let mut desk = self.desk();
        let dealt = desk.deal(&asked.who, asked.queue, asked.want, &asked.held);
        let pictures: Vec<Value> = dealt.into_iter().map(|place| desk.shown(&asked.who, place)).collect();
        Ok(json!({ "generation": desk.generation, "pictures": pictures }))
    }

    fn list(&self, asked: &List) -> Answered {
        check(&asked.who)?;
        if asked.count > MOST_PICTURES {
            return Err(bad(&format!("at most {MOST_PICTURES} pictures at once")));
        }
        let desk = self.desk();
        let all = desk.batch().pictures.len();
        let pictures = (asked.from.min(all)..all).take(asked.count).map(|place| desk.shown(&asked.who, place));
        Ok(json!({ "generation": desk.generation, "all": all, "pictures": pictures.collect::<Vec<_>>() }))
    }

    fn examples(&self, asked: &Examples) -> Answered {
        let desk = self.desk();
        let class = desk.batch().class(&asked.class).ok_or_else(|| bad("there is no such class"))?;
        Ok(json!({ "class": asked.class, "pictures": desk.examples(class) }))
    }

    fn answers(&self, asked: Answers) -> Answered {
        check(&asked.who)?;
        if asked.answers.len() > MOST_ANSWERS {
            return Err(bad(&format!("at most {MOST_ANSWERS} answers at once")));
        }
        let mut desk = self.desk();
        desk.refresh().map_err(|error| failed(&error))?;
        let about: Vec<(u64, bool)> = asked.answers.iter().map(|sent| (sent.id, sent.third_look)).collect();
        let batch = desk.batch();
        let new = asked.answers.into_iter().map(|sent| sent.for_journal(&asked.who.annotator, batch)).collect();
        let recorded = desk.record(new, &asked.who).map_err(|error| failed(&error))?;
        let said = recorded.iter().zip(about).map(|(recorded, (id, third_look))| {
            let mut said = said::recorded(recorded, desk.batch());
            said["id"] = json!(id);
            if third_look {
                said["everybody"] = desk.answers(id);
            }
            said
        });
        Ok(json!({ "results": said.collect::<Vec<_>>() }))
    }
}

/// Paths that something is sent to.
const POSTS: [&str; 6] = ["state", "leave", "deal", "list", "examples", "answers"];

impl Site for Page {
    fn answer(&self, asked: &Asked<'_>) -> Reply {
        if asked.method == Method::Get {
            return self.read(asked.path);
        }
        let body = asked.body;
        let answered = match asked.path {
            "state" => parsed(body).and_then(|sent| self.state(&sent)),
            "leave" => parsed(body).and_then(|sent| self.leave(&sent)),
            "deal" => parsed(body).and_then(|sent| self.deal(&sent)),
            "list" => parsed(body).and_then(|sent| self.list(&sent)),
            "examples" => parsed(body).and_then(|sent| self.examples(&sent)),
            "answers" => parsed(body).and_then(|sent| self.answers(sent)),
            "" | "batch" | "style.css" => Err(Reply::wrong_method()),
            _ => Err(Reply::nothing()),
        };
        answered.map_or_else(|refusal| refusal, |value| Reply::json(&value))
    }

    fn most_sent(&self) -> Option<usize> {
        Some(MOST_SENT)
    }
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Reply> {
    serde_json::from_slice(body).map_err(|error| bad(&format!("this is not what is sent here: {error}")))
}

fn check(who: &Who) -> Result<(), Reply> {
    who.check().map_err(|message| bad(&message))
}

fn bad(why: &str) -> Reply {
    Reply::refusal("400 Bad Request", Shown::sentence(why).into_string())
}

/// What the files or the disk do not let happen. An answer that is out of bounds is the sender's doing.
fn failed(error: &PeopleError) -> Reply {
    let why = Shown::sentence(&error.to_string()).into_string();
    match error {
        PeopleError::Answer { .. } => Reply::refusal("400 Bad Request", why),
        _ => Reply::refusal("500 Internal Server Error", why),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use querist_core::digest::sha256;

    use super::*;

    #[test]
    fn the_programs_of_the_page_are_made_of_its_sources() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/label/page");
        let mut sources: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".ts"))
            .collect();
        sources.sort();
        let scripts: Vec<String> = SCRIPTS.iter().map(|(name, _)| name.replace(".js", ".ts")).collect();
        assert_eq!(scripts, sources, "every source is served");
        let digests: String =
            sources.iter().map(|name| format!("{}  {name}\n", sha256(&fs::read(folder.join(name)).unwrap()))).collect();
        let known = fs::read_to_string(folder.join("generated/sources.sha256")).unwrap();
        assert_eq!(known, digests, "run `cargo xtask page`");
    }
}
