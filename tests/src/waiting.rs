//! Run folders that wait for people.

use std::fs;
use std::path::PathBuf;

use image::{Rgb, RgbImage};
use querist_people::{Batch, Guess, Journal, Looks, Outcome, Picture, Stage, WAITING};

use crate::cli::Place;

/// The classes that are asked about.
pub const CLASSES: [&str; 3] = ["cat", "dog & \"co\" <x>", "straße"];
/// The samples that are asked for, in the order in which they were chosen.
pub const ASKED: [u64; 5] = [40, 7, 19, 3, 12];

/// Has the run folder `r` of a place wait for labels of five small pictures.
pub fn wait(place: &Place, stage: Stage) -> PathBuf {
    let picture = |&id: &u64| {
        let name = format!("in/{id}.png");
        let path = place.at("pictures").join(&name);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder is ours");
        RgbImage::from_pixel(8, 8, Rgb([id as u8, 90, 60])).save(path).expect("the folder is ours");
        Picture { id, name, score: None, guess: Some(Guess { class: 2, probability: 0.5 }) }
    };
    let batch = Batch {
        version: 1,
        stage,
        strategy: "margin".to_owned(),
        classes: CLASSES.map(str::to_owned).to_vec(),
        folder: place.at("pictures"),
        looks: Looks::One,
        pictures: ASKED.iter().map(picture).collect(),
    };
    let run = place.at("r");
    place.write("r/run.toml", "version = 1\n");
    fs::create_dir_all(run.join(WAITING)).expect("the folder is ours");
    batch.write(&run.join(WAITING)).expect("it can be asked");
    run
}

/// What the answers in the run folder `r` come to, by sample.
pub fn outcomes(place: &Place) -> Vec<(u64, Outcome)> {
    let run = place.at("r");
    let batch = Batch::read(&run).expect("it can be read").expect("it waits");
    ASKED.into_iter().zip(Journal::open(&run, batch).expect("answers can be read").outcomes()).collect()
}
