// Checks a Dockerfile as `docker build --check` does, for each platform that is named, with
// BuildKit's own parser and linter and without a daemon. No registry is asked, so nothing is known
// of base images but their names.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// baseImages answers for every base image with an empty configuration of the platform that is asked
// for.
type baseImages struct{}

func (baseImages) ResolveImageConfig(_ context.Context, ref string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	image := ocispecs.Image{Platform: platforms.DefaultSpec()}
	if opt.ImageOpt != nil && opt.ImageOpt.Platform != nil {
		image.Platform = *opt.ImageOpt.Platform
	}
	config, err := json.Marshal(image)
	return ref, digest.FromBytes(config), config, err
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: dockerfile-lint DOCKERFILE PLATFORM...")
		os.Exit(2)
	}
	found := 0
	for _, platform := range os.Args[2:] {
		count, err := lint(os.Args[1], platform)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		found += count
	}
	count, err := ignored(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	found += count
	if found > 0 {
		os.Exit(1)
	}
}

// lint prints what is wrong with a Dockerfile for a platform, and counts it.
func lint(path, platform string) (int, error) {
	target, err := platforms.Parse(platform)
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	source := llb.NewSourceMap(nil, path, "Dockerfile", text)
	source.Definition = &llb.Definition{}
	options := dockerfile2llb.ConvertOpt{
		TargetPlatform: &target,
		MetaResolver:   baseImages{},
		SourceMap:      source,
	}
	options.BuildPlatforms = []ocispecs.Platform{platforms.MustParse("linux/amd64")}
	results, err := dockerfile2llb.DockerfileLint(context.Background(), text, options)
	if err != nil {
		return 0, err
	}
	for _, warning := range results.Warnings {
		fmt.Printf("%s:%d: %s: %s: %s (%s)\n", path, warning.Location.Ranges[0].Start.Line, platform, warning.RuleName, warning.Detail, warning.URL)
	}
	count := len(results.Warnings)
	if results.Error != nil {
		fmt.Printf("%s: %s: %s\n", path, platform, results.Error.Message)
		count++
	}
	return count, nil
}

// ignored prints what the Dockerfile copies from the build's context and .dockerignore keeps out of
// it or the folder does not have, and counts it. BuildKit's rule for this (CopyIgnoredFile) needs a
// client of a daemon.
func ignored(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	file, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	stages, _, err := instructions.Parse(file.AST, nil)
	if err != nil {
		return 0, err
	}
	folder := filepath.Dir(path)
	ignore, err := os.Open(filepath.Join(folder, ".dockerignore"))
	if err != nil {
		return 0, err
	}
	defer ignore.Close()
	patterns, err := ignorefile.ReadAll(ignore)
	if err != nil {
		return 0, err
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return 0, err
	}
	count := 0
	for _, stage := range stages {
		for _, command := range stage.Commands {
			copied, ok := command.(*instructions.CopyCommand)
			if !ok || copied.From != "" {
				continue
			}
			for _, source := range copied.SourcePaths {
				left, err := matcher.MatchesOrParentMatches(source)
				if err != nil {
					return 0, err
				}
				_, missing := os.Stat(filepath.Join(folder, source))
				if left || missing != nil {
					fmt.Printf("%s:%d: %s is not in the build's context\n", path, copied.Location()[0].Start.Line, source)
					count++
				}
			}
		}
	}
	return count, nil
}
