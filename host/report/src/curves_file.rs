//! Curves that were made elsewhere, from a CSV file.

use std::io::Read;

use querist_protocol::Shown;

use crate::curve::{Curve, Seed, Setting};

/// Rows of a file at most.
const MOST_ROWS: usize = 10_000_000;
/// Columns of a file at most.
const MOST_COLUMNS: usize = 1000;
/// Labelled samples at most, so that curves are exact in floating point.
pub(crate) const MOST_LABELLED: usize = u32::MAX as usize;

/// Which column says what. All others are keys of the setting, but those left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Column of the strategy's name.
    pub strategy: String,
    /// Column of what pairs the curves of two strategies.
    pub seed: String,
    /// Column of the number of labelled samples.
    pub labelled: String,
    /// Column of the accuracy, as a fraction.
    pub accuracy: String,
    /// Columns that say nothing about the setting, such as times.
    pub ignored: Vec<String>,
    /// Whether accuracies are percentages.
    pub percent: bool,
}

impl Default for Columns {
    fn default() -> Self {
        let [strategy, seed, labelled, accuracy] = ["strategy", "seed", "labelled", "accuracy"].map(str::to_owned);
        Self { strategy, seed, labelled, accuracy, ignored: Vec::new(), percent: false }
    }
}

/// A file that holds no curves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CurvesError {
    /// It is no CSV file.
    #[error("this is no CSV file: {0}")]
    Csv(String),
    /// A column that is needed is not there.
    #[error("there is no column `{name}`; the columns are {found}. Name the right one with `{option}`")]
    Column {
        /// The wanted name.
        name: Shown,
        /// The names that are there.
        found: String,
        /// What names another.
        option: &'static str,
    },
    /// A name stands over two columns.
    #[error("two columns are called `{0}`; expected each name once")]
    Twice(Shown),
    /// A row cannot be read.
    #[error("line {line}, column `{column}`: `{value}` is not {expected}")]
    Value {
        /// Line of the file.
        line: u64,
        /// Name of the column.
        column: Shown,
        /// What stands there.
        value: Shown,
        /// What should.
        expected: &'static str,
    },
    /// A count stands twice in a curve.
    #[error(
        "line {line}: `{strategy}`, seed {seed}, has a second accuracy with {labelled} labels; expected one. A column \
         that tells these rows apart may have been left out, or `--seed-column` name another"
    )]
    Repeated {
        /// Line of the file.
        line: u64,
        /// The strategy.
        strategy: Shown,
        /// The seed.
        seed: Shown,
        /// The count.
        labelled: usize,
    },
    /// A column that is no key of a setting makes one of every row.
    #[error(
        "column `{0}` differs in every row, so no two rows would be of one curve; leave it out with \
         `--ignore-column {0}`"
    )]
    Distinct(Shown),
    /// There are no rows, or too many.
    #[error("it has {0}")]
    Size(String),
}

impl Columns {
    /// The curves of a CSV file with a header line, each with its points by ascending count.
    ///
    /// # Errors
    /// If a column is missing, a value is none, a count stands twice in a curve, or a column differs in every row.
    pub fn read(&self, from: impl Read) -> Result<Vec<Curve>, CurvesError> {
        let broken = |error: csv::Error| CurvesError::Csv(Shown::sentence(&error.to_string()).into_string());
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(from);
        let header = reader.headers().map_err(broken)?.clone();
        let roles = Roles::new(self, &header)?;
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(broken)?;
            if rows.len() == MOST_ROWS {
                return Err(CurvesError::Size(format!("more than {MOST_ROWS} rows")));
            }
            rows.push(roles.row(&record, &header, self.percent)?);
        }
        if rows.is_empty() {
            return Err(CurvesError::Size("no rows below its header".to_owned()));
        }
        roles.refuse_distinct(&rows, &header)?;
        curves(rows)
    }
}

/// One row, read.
struct Row {
    line: u64,
    setting: Setting,
    strategy: String,
    seed: Seed,
    labelled: usize,
    accuracy: f64,
}

/// Places of the columns.
struct Roles {
    strategy: usize,
    seed: usize,
    labelled: usize,
    accuracy: usize,
    keys: Vec<usize>,
}

impl Roles {
    fn new(columns: &Columns, header: &csv::StringRecord) -> Result<Self, CurvesError> {
        if header.len() > MOST_COLUMNS {
            return Err(CurvesError::Size(format!("{} columns, expected at most {MOST_COLUMNS}", header.len())));
        }
        for (at, name) in header.iter().enumerate() {
            if header.iter().take(at).any(|other| other == name) {
                return Err(CurvesError::Twice(Shown::name(name)));
            }
        }
        let place = |name: &str, option: &'static str| {
            let found = || header.iter().map(|name| format!("`{}`", Shown::name(name))).collect::<Vec<_>>().join(", ");
            let missing = || CurvesError::Column { name: Shown::name(name), found: found(), option };
            header.iter().position(|column| column == name).ok_or_else(missing)
        };
        let strategy = place(&columns.strategy, "--strategy-column")?;
        let seed = place(&columns.seed, "--seed-column")?;
        let labelled = place(&columns.labelled, "--labelled-column")?;
        let accuracy = place(&columns.accuracy, "--accuracy-column")?;
        for name in &columns.ignored {
            place(name, "--ignore-column")?;
        }
        let used = [strategy, seed, labelled, accuracy];
        let is_key = |&at: &usize| !used.contains(&at) && !columns.ignored.iter().any(|name| *name == header[at]);
        Ok(Self { strategy, seed, labelled, accuracy, keys: (0..header.len()).filter(is_key).collect() })
    }

    fn row(&self, record: &csv::StringRecord, header: &csv::StringRecord, percent: bool) -> Result<Row, CurvesError> {
        let line = record.position().map_or(0, csv::Position::line);
        let wrong = |at: usize, expected: &'static str| CurvesError::Value {
            line,
            column: Shown::name(&header[at]),
            value: Shown::name(&record[at]),
            expected,
        };
        // Some writers give whole numbers as 100.0.
        let labelled = record[self.labelled].parse::<f64>().ok().filter(|n| n.fract() == 0.0 && *n >= 0.0);
        let labelled = labelled.filter(|&n| n <= MOST_LABELLED as f64);
        let labelled = labelled.ok_or_else(|| wrong(self.labelled, "a number of labels from 0 to 4294967295"))?;
        let (most, expected) = match percent {
            true => (100.0, "a percentage from 0 to 100"),
            false => (1.0, "a fraction from 0 to 1; `--percent` reads percentages"),
        };
        let accuracy = record[self.accuracy].parse::<f64>().ok().filter(|a| (0.0..=most).contains(a));
        let accuracy = accuracy.ok_or_else(|| wrong(self.accuracy, expected))? / most;
        let text = |at: usize| Shown::name(&record[at]).into_string();
        let keys = self.keys.iter().map(|&at| (Shown::name(&header[at]).into_string(), text(at)));
        Ok(Row {
            line,
            setting: keys.collect(),
            strategy: text(self.strategy),
            seed: Seed::parse(&text(self.seed)),
            labelled: labelled as usize,
            accuracy,
        })
    }

    /// A column such as a time would make a curve of every row, and no figure of any.
    fn refuse_distinct(&self, rows: &[Row], header: &csv::StringRecord) -> Result<(), CurvesError> {
        if rows.len() < 3 {
            return Ok(());
        }
        for &at in &self.keys {
            let name = Shown::name(&header[at]);
            let values: std::collections::BTreeSet<&String> =
                rows.iter().filter_map(|row| row.setting.get(name.as_str())).collect();
            if values.len() * 10 > rows.len() * 9 {
                return Err(CurvesError::Distinct(name));
            }
        }
        Ok(())
    }
}

/// Rows to curves. Keys with one value everywhere name no setting.
fn curves(mut rows: Vec<Row>) -> Result<Vec<Curve>, CurvesError> {
    let constant: Vec<String> = rows[0]
        .setting
        .iter()
        .filter(|(key, value)| rows.iter().all(|row| row.setting[*key] == **value))
        .map(|(key, _)| key.clone())
        .collect();
    rows.iter_mut().for_each(|row| row.setting.retain(|key, _| !constant.contains(key)));
    rows.sort_by(|a, b| {
        (&a.setting, &a.strategy, &a.seed, a.labelled).cmp(&(&b.setting, &b.strategy, &b.seed, b.labelled))
    });
    let same = |a: &Row, b: &Row| a.setting == b.setting && a.strategy == b.strategy && a.seed == b.seed;
    if let Some([first, second]) = rows
        .windows(2)
        .find_map(|two| <&[Row; 2]>::try_from(two).ok().filter(|[a, b]| same(a, b) && a.labelled == b.labelled))
    {
        return Err(CurvesError::Repeated {
            line: first.line.max(second.line),
            strategy: Shown::name(&first.strategy),
            seed: Shown::name(&first.seed.to_string()),
            labelled: first.labelled,
        });
    }
    let curve = |rows: &[Row]| Curve {
        setting: rows[0].setting.clone(),
        label: rows[0].strategy.clone(),
        seed: rows[0].seed.clone(),
        points: rows.iter().map(|row| (row.labelled, row.accuracy)).collect(),
        is_upper: false,
    };
    Ok(rows.chunk_by(same).map(curve).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "data,strategy,seed,labelled,accuracy,seconds\n\
                        a,random,1,20,0.6,1.5\na,random,1,10,0.5,1.25\n\
                        a,margin,1,10,0.5,3.5\na,margin,1,20.0,0.7,4.5\n";

    fn read(text: &str, change: impl Fn(&mut Columns)) -> Result<Vec<Curve>, CurvesError> {
        let mut columns = Columns { ignored: vec!["seconds".to_owned()], ..Columns::default() };
        change(&mut columns);
        columns.read(text.as_bytes())
    }

    #[test]
    fn rows_in_any_order_are_curves() {
        let found = read(FILE, |_| {}).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].label.as_str(), found[1].points.as_slice()), ("random", &[(10, 0.5), (20, 0.6)][..]));
        assert_eq!(found[0].seed, Seed::Number(1));
        assert!(found[0].setting.is_empty(), "one value everywhere is no setting");
    }

    #[test]
    fn other_columns_are_settings_and_names_can_be_given() {
        let text = "set;who\n".replace(';', ",") + "";
        assert!(matches!(read(&text, |_| {}), Err(CurvesError::Column { option: "--strategy-column", .. })));
        let text = "set,who,run,n,acc\nx,random,a,10,50\ny,random,a,10,60\n";
        let named = |columns: &mut Columns| {
            [columns.strategy, columns.seed, columns.labelled, columns.accuracy] =
                ["who", "run", "n", "acc"].map(str::to_owned);
            columns.ignored.clear();
            columns.percent = true;
        };
        let found = read(text, named).unwrap();
        assert_eq!(found[1].setting, Setting::from([("set".to_owned(), "y".to_owned())]));
        assert_eq!((found[1].points[0].1, &found[1].seed), (0.6, &Seed::Text("a".to_owned())));
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        let error = |text: &str| read(text, |_| {}).unwrap_err().to_string();
        let changed = |from: &str, to: &str| error(&FILE.replace(from, to));
        assert_eq!(
            changed("0.6,1.5", "60,1.5"),
            "line 2, column `accuracy`: `60` is not a fraction from 0 to 1; `--percent` reads percentages"
        );
        assert!(changed("0.6,1.5", "nan,1.5").starts_with("line 2, column `accuracy`: `nan`"));
        assert!(changed("1,20,0.6", "1,2e9.5,0.6").contains("column `labelled`"));
        assert!(changed("1,20,0.6", "1,-20,0.6").contains("a number of labels"));
        assert!(changed("1,20,0.6", "1,10,0.6").contains("has a second accuracy with 10 labels"));
        assert!(changed("accuracy", "seed").contains("two columns are called `seed`"));
        assert!(changed("a,random,1,20", "a,random,1").contains("no CSV file"));
        assert_eq!(error("data,strategy,seed,labelled,accuracy,seconds\n"), "it has no rows below its header");
        let error = read(FILE, |columns| columns.ignored.clear()).unwrap_err().to_string();
        assert!(error.contains("column `seconds` differs in every row") && error.contains("--ignore-column seconds"));
    }
}
