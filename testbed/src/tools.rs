//! Finds the programs that the testbed starts, or builds them with Go into a cache outside the
//! checkout.
//!
//! They are pinned by the Go modules below `testbed/tools`. A developer who has
//! `KUBEBUILDER_ASSETS` (what `setup-envtest` fills) builds only what that folder lacks.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::cache::{self, digest};

/// A program that the testbed starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // their names say what they are
pub enum Tool {
    Etcd,
    KubeApiserver,
    KubeControllerManager,
    Kubectl,
    Helm,
    Kubeconform,
    Prometheus,
    Promtool,
    DockerfileLint,
    HelmDocs,
    HelmUnittest,
    GitopsHealth,
    Actionlint,
}

/// Programs whose dependency versions agree, so that one Go module pins them.
struct Group {
    /// The folder of its Go module.
    folder: &'static str,
    /// Go's build tags, by commas.
    tags: &'static str,
    /// Sets what the programs say of their version.
    link: &'static str,
    /// What it takes on two cores with nothing cached.
    takes: &'static str,
    tools: &'static [Tool],
}

const GROUPS: &[Group] = &[
    Group {
        folder: "etcd",
        tags: "",
        link: "",
        takes: "40 seconds",
        tools: &[Tool::Etcd],
    },
    Group {
        folder: "kubernetes",
        tags: "",
        link: "-X k8s.io/component-base/version.gitVersion=v1.37.2 \
               -X k8s.io/component-base/version.gitMajor=1 \
               -X k8s.io/component-base/version.gitMinor=37",
        takes: "5 minutes",
        tools: &[Tool::KubeApiserver, Tool::KubeControllerManager, Tool::Kubectl],
    },
    Group {
        folder: "helm",
        tags: "",
        link: "-X helm.sh/helm/v4/internal/version.version=v4.3.1",
        takes: "2 minutes",
        tools: &[Tool::Helm],
    },
    Group {
        folder: "kubeconform",
        tags: "",
        link: "-X main.version=v0.8.0",
        takes: "10 seconds",
        tools: &[Tool::Kubeconform],
    },
    Group {
        folder: "prometheus",
        tags: "remove_all_sd", // finds targets in files, not in clouds: a third of its packages less
        link: "",
        takes: "3 minutes",
        tools: &[Tool::Prometheus, Tool::Promtool],
    },
    Group {
        folder: "dockerfile",
        tags: "",
        link: "",
        takes: "20 seconds",
        tools: &[Tool::DockerfileLint],
    },
    Group {
        folder: "helm-docs",
        tags: "",
        link: "-X main.version=v1.14.2",
        takes: "20 seconds",
        tools: &[Tool::HelmDocs],
    },
    Group {
        folder: "helm-unittest",
        tags: "",
        link: "",
        takes: "1 minute",
        tools: &[Tool::HelmUnittest],
    },
    Group {
        folder: "gitops",
        tags: "",
        link: "",
        takes: "2 minutes",
        tools: &[Tool::GitopsHealth],
    },
    Group {
        folder: "actionlint",
        tags: "",
        link: "",
        takes: "10 seconds",
        tools: &[Tool::Actionlint],
    },
];

impl Tool {
    /// Every tool, in the order in which they are built.
    pub fn all() -> impl Iterator<Item = Self> {
        GROUPS.iter().flat_map(|group| group.tools.iter().copied())
    }

    /// The program's file name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::Kubeconform => "kubeconform",
            Self::Prometheus => "prometheus",
            Self::Promtool => "promtool",
            Self::DockerfileLint => "dockerfile-lint",
            Self::HelmDocs => "helm-docs",
            Self::HelmUnittest => "helm-unittest",
            Self::GitopsHealth => "gitops-health",
            Self::Actionlint => "actionlint",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Kubeconform => "github.com/yannh/kubeconform/cmd/kubeconform",
            Self::Prometheus => "github.com/prometheus/prometheus/cmd/prometheus",
            Self::Promtool => "github.com/prometheus/prometheus/cmd/promtool",
            Self::DockerfileLint => "vpce-testbed/tools/dockerfile",
            Self::HelmDocs => "github.com/norwoodj/helm-docs/cmd/helm-docs",
            Self::HelmUnittest => "github.com/helm-unittest/helm-unittest/cmd/helm-unittest",
            Self::GitopsHealth => "vpce-testbed/tools/gitops", // our own, in the module's folder
            Self::Actionlint => "github.com/rhysd/actionlint/cmd/actionlint",
        }
    }

    fn group(self) -> &'static Group {
        GROUPS
            .iter()
            .find(|group| group.tools.contains(&self))
            .expect("every tool is in a group")
    }

    /// The program's path; it is built first where it is not there yet, and several processes that
    /// want it at once build it once.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn path(self) -> Result<PathBuf> {
        if let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS") {
            let path = Path::new(&assets).join(self.name());
            if path.is_file() {
                return Ok(path);
            }
        }
        let group = self.group();
        let folder = group.cache()?;
        let path = folder.join(self.name());
        cache::make_once(&folder.join("lock"), || path.is_file(), || self.build(group, &path))?;
        Ok(path)
    }

    fn build(self, group: &Group, path: &Path) -> Result<()> {
        let name = self.name();
        let first = !group
            .tools
            .iter()
            .any(|tool| path.with_file_name(tool.name()).is_file());
        if first {
            let names: Vec<&str> = group.tools.iter().map(|tool| tool.name()).collect();
            say(&format!(
                "building {} with Go, once: about {} on 2 cores",
                names.join(", "),
                group.takes
            ));
        }
        let begun = Instant::now();
        let partial = path.with_extension("partial");
        let output = Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-tags", group.tags])
            .args(["-ldflags", &format!("-s -w {}", group.link), "-o"])
            .arg(&partial)
            .arg(self.package())
            .current_dir(group.source())
            .env("CGO_ENABLED", "0") // needs no C compiler
            .env("GOWORK", "off")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run go, which builds {name}: install Go 1.26 or newer, or let KUBEBUILDER_ASSETS name a folder that holds {name}"))?;
        if !output.status.success() {
            bail!("go cannot build {name}:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("built {name} in {} s", begun.elapsed().as_secs()));
        Ok(())
    }
}

impl Group {
    fn source(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(self.folder)
    }

    /// Named after all that decides what is built, so that another checkout with other versions has
    /// its own.
    fn cache(&self) -> Result<PathBuf> {
        let read = |file: &str| {
            let path = self.source().join(file);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        // Some groups are a program of our own.
        let own = read("main.go").unwrap_or_default();
        let hash = digest([
            read("go.mod")?,
            read("go.sum")?,
            own,
            self.link.into(),
            self.tags.into(),
        ]);
        Ok(cache::folder()?.join("tools").join(format!("{}-{hash}", self.folder)))
    }
}

/// Builds all that is missing.
///
/// # Errors
/// When Go is missing or a build fails.
pub fn build_all() -> Result<Vec<(Tool, PathBuf)>> {
    Tool::all().map(|tool| Ok((tool, tool.path()?))).collect()
}

/// To the terminal even from a test, whose output is captured otherwise: a person waits for it.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "testbed: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_pinned_by_its_groups_go_module() {
        for tool in Tool::all() {
            let module = fs::read_to_string(tool.group().source().join("go.mod")).expect("a Go module");
            assert!(
                module.lines().any(|line| {
                    let line = line.trim().trim_start_matches("tool ");
                    line.trim_start_matches("module ") == tool.package()
                }),
                "{tool:?}"
            );
        }
    }

    #[test]
    fn programs_say_the_version_that_the_go_module_pins() {
        for group in GROUPS {
            let module = fs::read_to_string(group.source().join("go.mod")).expect("a Go module");
            let stamped = group
                .link
                .split_whitespace()
                .filter_map(|word| word.split_once("ersion="))
                .map(|(_, version)| version);
            for version in stamped {
                assert!(
                    module.split_whitespace().any(|word| word == version),
                    "{} is not {version}",
                    group.folder
                );
            }
        }
    }
}
