// The Grafana dashboard of the file that is named, read as Grafana's own schema has it: strictly, so that a field that Grafana does not know,
// a panel of no kind, options of another kind of panel, a query that is none of Prometheus all end it. Prints a line of JSON for each query.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// The schema's own code ends with an empty list of errors where there are none.
func fault(err error) error {
	var none cog.BuildErrors
	if errors.As(err, &none) && len(none) == 0 {
		return nil
	}
	return err
}

type query struct {
	Panel string `json:"panel"`
	Expr  string `json:"expr"`
}

func read(path string) ([]query, error) {
	plugins.RegisterDefaultPlugins()
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var board dashboard.Dashboard
	if err := fault(board.UnmarshalJSONStrict(text)); err != nil {
		return nil, err
	}
	if err := fault(board.Validate()); err != nil {
		return nil, err
	}
	// What is strict about it only judges: the content comes from the tolerant way.
	if err := json.Unmarshal(text, &board); err != nil {
		return nil, err
	}
	var queries []query
	row := ""
	for _, one := range board.Panels {
		if one.RowPanel != nil {
			row = *one.RowPanel.Title
			continue
		}
		switch one.Panel.Options.(type) {
		case *timeseries.Options, *stat.Options:
		default:
			return nil, fmt.Errorf("%s: a panel of kind %s with options of type %T", *one.Panel.Title, one.Panel.Type, one.Panel.Options)
		}
		for _, target := range one.Panel.Targets {
			asked, ok := target.(*prometheus.Dataquery)
			if !ok {
				return nil, fmt.Errorf("%s: a query of type %T", *one.Panel.Title, target)
			}
			queries = append(queries, query{row + ": " + *one.Panel.Title, asked.Expr})
		}
	}
	return queries, nil
}

func main() {
	queries, err := read(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, one := range queries {
		line, err := json.Marshal(one)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(line))
	}
}
