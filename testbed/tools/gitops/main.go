// Command gitops-health tells how GitOps tools see objects: kstatus as `kubectl` plugins and Flux
// compute it, Argo CD by its Lua scripts, and Flux by its CEL expressions.
//
// It reads objects as JSON, one after the other, from its input, and prints for each one line of
// JSON. The scripts come from a manifest of Argo CD's ConfigMap argocd-cm, the expressions from one
// of a Flux Kustomization, as users apply them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"
)

// Argo CD gives a script this long.
const scriptTimeout = time.Second

// The keys of argocd-cm that hold health scripts; what follows is `<group>_<kind>`.
const scriptKey = "resource.customizations.health."

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

type verdicts struct {
	Kstatus verdict `json:"kstatus"`
	ArgoCD  verdict `json:"argocd"`
	Flux    verdict `json:"flux"`
}

func main() {
	argocd := flag.String("argocd", "", "a manifest of the ConfigMap argocd-cm")
	flux := flag.String("flux", "", "a manifest of a Flux Kustomization")
	flag.Parse()
	if err := run(*argocd, *flux, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(argocd, flux string, input io.Reader, output io.Writer) error {
	scripts, err := readScripts(argocd)
	if err != nil {
		return err
	}
	evaluators, err := readExpressions(flux)
	if err != nil {
		return err
	}
	decoder, encoder := json.NewDecoder(input), json.NewEncoder(output)
	for {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		// Whole numbers become int64, as where the tools read objects from the API server.
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw); err != nil {
			return err
		}
		result, err := judge(object, scripts, evaluators)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		if err := encoder.Encode(result); err != nil {
			return err
		}
	}
}

func judge(object *unstructured.Unstructured, scripts map[string]string, evaluators map[string]*cel.StatusEvaluator) (*verdicts, error) {
	computed, err := status.Compute(object)
	if err != nil {
		return nil, fmt.Errorf("kstatus: %w", err)
	}
	kind := object.GroupVersionKind().Group + "_" + object.GetKind()
	script, found := scripts[kind]
	if !found {
		return nil, fmt.Errorf("argocd-cm has no health script for %s", kind)
	}
	health, err := runScript(object, script)
	if err != nil {
		return nil, fmt.Errorf("the health script: %w", err)
	}
	evaluator, found := evaluators[object.GetAPIVersion()+" "+object.GetKind()]
	if !found {
		return nil, fmt.Errorf("the Kustomization has no healthCheckExprs for %s %s", object.GetAPIVersion(), object.GetKind())
	}
	evaluated, err := evaluator.Evaluate(context.Background(), object)
	if err != nil {
		return nil, fmt.Errorf("healthCheckExprs: %w", err)
	}
	return &verdicts{
		Kstatus: verdict{computed.Status.String(), computed.Message},
		ArgoCD:  *health,
		Flux:    verdict{evaluated.Status.String(), evaluated.Message},
	}, nil
}

func readScripts(path string) (map[string]string, error) {
	var manifest corev1.ConfigMap
	if err := read(path, &manifest); err != nil {
		return nil, err
	}
	scripts := map[string]string{}
	for key, script := range manifest.Data {
		if kind, found := strings.CutPrefix(key, scriptKey); found {
			scripts[kind] = script
		}
	}
	return scripts, nil
}

func readExpressions(path string) (map[string]*cel.StatusEvaluator, error) {
	var manifest kustomizev1.Kustomization
	if err := read(path, &manifest); err != nil {
		return nil, err
	}
	evaluators := map[string]*cel.StatusEvaluator{}
	for _, check := range manifest.Spec.HealthCheckExprs {
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, check.Kind, err)
		}
		evaluators[check.APIVersion+" "+check.Kind] = evaluator
	}
	return evaluators, nil
}

// read refuses fields that the manifest's kind does not have.
func read(path string, manifest any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, manifest); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// runScript runs a health script in the interpreter that Argo CD embeds. Of the libraries, it opens
// those that Argo CD opens where `useOpenLibs` is not set, except for Argo CD's own cut of `os`.
func runScript(object *unstructured.Unstructured, script string) (*verdict, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
	} {
		call := lua.P{Fn: state.NewFunction(library.open), Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", toLua(state, object.Object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	text, err := luajson.Encode(state.Get(-1))
	if err != nil {
		return nil, err
	}
	health := &verdict{}
	if err := json.Unmarshal(text, health); err != nil {
		return nil, err
	}
	switch health.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
		return health, nil
	default:
		return nil, fmt.Errorf("%q is no health status of Argo CD", health.Status)
	}
}

// toLua makes a Lua value of what the API server sent. gopher-json has the same, but knows no
// int64.
func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := state.CreateTable(0, len(value))
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	case []any:
		table := state.CreateTable(len(value), 0)
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case int64:
		return lua.LNumber(value)
	default:
		return luajson.DecodeValue(state, value)
	}
}
