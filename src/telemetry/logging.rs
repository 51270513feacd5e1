//! Logs: one line an event on stdout, as JSON for machines or as text for people.

use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, ParseError, filter_fn};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::traces::Traces;

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one flat JSON object a line.
    Json,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The level cannot be read.
    #[error(
        "log level {level:?} is not understood: {source}; write a level (info), or levels by module (info,vpce_operator=debug)"
    )]
    Level {
        /// As it was given.
        level: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// A word of it is neither a level nor a module with one.
    #[error(
        "log level {level:?} is not understood: {word:?} is no level (error, warn, info, debug, trace, off); for a module write {word}=debug"
    )]
    Word {
        /// As it was given.
        level: String,
        word: String,
    },
    /// Something else has already taken the logs of this process.
    #[error("logging is already set up: {0}")]
    Taken(#[from] TryInitError),
}

/// What libraries say of every connection and request tells nothing of endpoints. A directive that
/// names such a module brings it back, unless it is one of AWS's SDK.
const QUIET: &str = "hyper=warn,hyper_util=warn,h2=warn,tower=warn,rustls=warn,aws_config=warn,aws_runtime=warn,\
                     aws_sdk_ec2=warn,aws_sdk_sts=warn,aws_smithy_runtime=warn,aws_smithy_runtime_api=warn,\
                     aws_smithy_http_client=warn,kube_client=warn";

/// The SDK writes AWS's answers as they came, and what AWS says of a wrong signature shows a
/// session's token: nothing brings that back.
fn is_discreet(event: &Metadata<'_>) -> bool {
    *event.level() <= Level::WARN || !event.target().starts_with("aws_")
}

/// That the level was changed is logged at every level, or a log would end without a word.
const ALWAYS: &str = "vpce_operator::telemetry::admin=info";

/// What is logged, which can be changed while the process runs. Clones are handles to the same.
#[derive(Clone)]
pub(crate) struct LogLevel {
    /// As it was given last.
    given: Arc<Mutex<String>>,
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogLevel {
    /// As it was given: a level, or directives.
    pub(crate) fn get(&self) -> String {
        self.given.lock().clone()
    }

    /// Logs by this from now on, and returns what was before.
    ///
    /// # Errors
    /// It is not understood; then all stays as it was.
    pub(crate) fn set(&self, level: &str) -> Result<String, Error> {
        let filter = filter(level)?;
        let mut given = self.given.lock();
        // It fails only where the subscriber is gone, which then logs nothing.
        let _ = self.filter.reload(filter);
        Ok(std::mem::replace(&mut given, level.to_owned()))
    }
}

/// Sends the logs of the whole process to stdout, and its spans to where the traces go. `level` is
/// in the form of tracing's `EnvFilter`.
///
/// # Errors
/// The level is not understood, or logging was set up before.
pub(crate) fn init(format: LogFormat, level: &str, traces: Option<&Traces>) -> Result<LogLevel, Error> {
    let ansi = std::io::stdout().is_terminal();
    let (log, level) = layer(format, level, ansi, std::io::stdout)?;
    // Each has a filter of its own: what is logged does not depend on what is traced.
    let traces = traces.map(Traces::layer);
    tracing_subscriber::registry().with(log).with(traces).try_init()?;
    Ok(level)
}

fn filter(level: &str) -> Result<EnvFilter, Error> {
    let words: Vec<&str> = level
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    // EnvFilter takes any single word for a module of that name: a level with a slip of the pen
    // would be one that logs nothing.
    let is_odd = |word: &&&str| !word.contains(['=', '[']) && word.parse::<LevelFilter>().is_err();
    if let Some(word) = words.iter().find(is_odd).or(words.is_empty().then_some(&"")) {
        return Err(Error::Word {
            level: level.to_owned(),
            word: (*word).to_owned(),
        });
    }
    let level = words.join(",");
    // Of two directives for one module the later counts, so that the user's win.
    EnvFilter::builder()
        .parse(format!("{QUIET},{level},{ALWAYS}"))
        .map_err(|source| Error::Level { level, source })
}

fn layer<W>(
    format: LogFormat,
    level: &str,
    ansi: bool,
    writer: W,
) -> Result<(impl Layer<Registry> + Send + Sync, LogLevel), Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => lines.with_ansi(ansi).boxed(),
        LogFormat::Json => lines.fmt_fields(JsonFields::new()).event_format(FlatJson).boxed(),
    };
    let level = LogLevel {
        given: Arc::new(Mutex::new(level.to_owned())),
        filter: handle,
    };
    Ok((lines.with_filter(filter.and(filter_fn(is_discreet))), level))
}

/// One JSON object an event: time, level, target and message, then the fields of the event and of
/// all spans around it side by side, so that `select(.namespace == "a" and .name == "b")` finds an
/// endpoint's story. (tracing-subscriber's own format keeps a span's fields in an object of their
/// own, where a field called `name` meets the span's name.)
struct FlatJson;

/// The keys that every line has; a field of that name gives way.
const FIXED: [&str; 4] = ["time", "level", "target", "message"];

impl<S, N> FormatEvent<S, N> for FlatJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        for span in ctx.event_scope().into_iter().flat_map(|spans| spans.from_root()) {
            let extensions = span.extensions();
            let written = extensions.get::<FormattedFields<N>>().map(|fields| fields.as_str());
            if let Some(Ok(of_span)) = written.map(serde_json::from_str::<BTreeMap<String, Value>>) {
                fields.0.extend(of_span);
            }
        }
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap_or_default();
        let meta = event.metadata();

        let mut line = Vec::new();
        let mut write = || {
            let mut json = serde_json::Serializer::new(&mut line);
            let mut map = json.serialize_map(None)?;
            map.serialize_entry("time", &time)?;
            map.serialize_entry("level", meta.level().as_str())?;
            map.serialize_entry("target", meta.target())?;
            map.serialize_entry("message", &message)?;
            for (key, value) in fields.0.iter().filter(|(key, _)| !FIXED.contains(&key.as_str())) {
                map.serialize_entry(key, value)?;
            }
            map.end()
        };
        write().map_err(|_: serde_json::Error| fmt::Error)?;
        writeln!(writer, "{}", String::from_utf8_lossy(&line))
    }
}

/// The fields of an event, each with its own type.
#[derive(Default)]
struct Fields(BTreeMap<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What the logs hold after `say` at this level.
    fn logged(format: LogFormat, level: &str, say: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let (layer, _) = layer(format, level, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        let bytes = captured.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn one_endpoints_story_is_found_by_keys_at_the_top_of_each_line() {
        let lines = logged(LogFormat::Json, "info", || {
            let outer = tracing::info_span!(
                "reconcile",
                namespace = "external",
                name = "db",
                account = tracing::field::Empty
            );
            outer.in_scope(|| {
                outer.record("account", "tenant-a");
                let inner = tracing::info_span!("apply", action = "CreateVpcEndpoint");
                inner.in_scope(|| tracing::info!(request_id = "r-1", tries = 2, done = true, "a \"quoted\"\nline"));
            });
        });
        assert_eq!(lines.lines().count(), 1, "{lines}");
        let line: Value = serde_json::from_str(&lines).unwrap();
        for (key, value) in [
            ("level", Value::from("INFO")),
            ("message", Value::from("a \"quoted\"\nline")),
            ("namespace", Value::from("external")),
            ("name", Value::from("db")),
            ("account", Value::from("tenant-a")),
            ("action", Value::from("CreateVpcEndpoint")),
            ("request_id", Value::from("r-1")),
            ("tries", Value::from(2)),
            ("done", Value::from(true)),
        ] {
            assert_eq!(line[key], value, "{key} in {lines}");
        }
        let time = line["time"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    }

    #[test]
    fn a_field_cannot_pose_as_the_level_or_appear_twice() {
        let lines = logged(LogFormat::Json, "info", || {
            tracing::info_span!("outer", level = "fake", name = "outer")
                .in_scope(|| tracing::warn!(name = "event", "x"));
        });
        assert_eq!(lines.matches("\"level\"").count(), 1, "{lines}");
        assert_eq!(lines.matches("\"name\"").count(), 1, "{lines}");
        let line: Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["name"], "event");
    }

    #[test]
    fn libraries_are_quiet_at_debug_unless_they_are_named() {
        let say = || tracing::debug!(target: "hyper::proto", "connection");
        assert_eq!(logged(LogFormat::Json, "debug", say), "");
        assert!(logged(LogFormat::Json, "debug,hyper=debug", say).contains("connection"));
    }

    #[test]
    fn what_aws_answers_is_not_brought_back_by_naming_its_sdk() {
        let say = || tracing::debug!(target: "aws_smithy_runtime::client", "x-amz-security-token: t");
        for level in ["aws_smithy_runtime=trace", "trace,aws_smithy_runtime::client=trace"] {
            for format in [LogFormat::Json, LogFormat::Text] {
                assert_eq!(logged(format, level, say), "", "{level}");
            }
        }
        let warn = || tracing::warn!(target: "aws_config", "odd");
        assert!(logged(LogFormat::Json, "info", warn).contains("odd"));
    }

    #[test]
    fn text_is_one_plain_line_with_the_fields_of_the_spans() {
        let line = logged(LogFormat::Text, "info", || {
            tracing::info_span!("reconcile", namespace = "external", name = "db").in_scope(|| tracing::info!("hello"));
        });
        assert!(
            line.contains("hello") && line.contains("namespace=\"external\""),
            "{line}"
        );
        assert!(!line.contains('\u{1b}'), "{line}");
    }

    #[test]
    fn a_level_that_is_not_one_is_refused_with_an_example() {
        for (level, example) in [
            ("vpce=loud", "info,vpce_operator=debug"),
            ("inof", "inof=debug"),
            ("info,hyper", "hyper=debug"),
            (" ", "error, warn, info"),
        ] {
            let refused = filter(level).err().unwrap().to_string();
            assert!(refused.contains(level) && refused.contains(example), "{refused}");
        }
        for level in [
            "info",
            "OFF",
            "warn, vpce_operator=debug",
            "info,[reconcile{name=a}]=trace",
        ] {
            assert!(filter(level).is_ok(), "{level}");
        }
    }

    #[test]
    fn the_level_changes_while_it_runs_and_a_wrong_one_changes_nothing() {
        let captured = Captured::default();
        let writer = captured.clone();
        let (layer, level) = layer(LogFormat::Json, "warn", false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let say = |text: &str| tracing::debug!("{text}");
            say("one");
            assert_eq!(level.set("debug,aws_config=trace").unwrap(), "warn");
            say("two");
            tracing::debug!(target: "aws_config", "secret");
            assert!(level.set("inof").is_err());
            assert_eq!(level.get(), "debug,aws_config=trace");
            say("three");
            level.set("off").unwrap();
            say("four");
            tracing::info!(target: "vpce_operator::telemetry::admin", "five");
        });
        let bytes = captured.0.lock().clone();
        let lines = String::from_utf8(bytes).unwrap();
        let said: Vec<String> = lines
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["message"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(said, ["two", "three", "five"]);
    }
}
