package snapshot

import (
	"fmt"
	"path"
	"reflect"
	"strings"

	"permafrost/snapshot/internal/blobtree"
)

// maxName bounds each text of a manifest, in bytes: no path is longer.
const maxName = blobtree.MaxPath

// checkTexts returns an error for a text that is too long, or that holds the NUL that no name can, wherever in the
// manifest it is; and for a directory that is none.
func (m *Manifest) checkTexts() error {
	if err := checkText(reflect.ValueOf(m), "manifest"); err != nil {
		return err
	}
	for what, dir := range map[string]Text{"live directory": m.Live, "root of the media": m.Media.Root} {
		if dir != "" && (!path.IsAbs(string(dir)) || strings.Contains(string(dir)+"/", "/../")) {
			return fmt.Errorf("%s %.100q is impossible", what, string(dir))
		}
	}
	return nil
}

// checkText looks at all texts in v, which is called what.
func checkText(v reflect.Value, what string) (err error) {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); len(s) > maxName || strings.Contains(s, "\x00") {
			return fmt.Errorf("%s of %d bytes, %.100q, is impossible", what, len(s), s)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return checkText(v.Elem(), what)
		}
	case reflect.Struct:
		for i := 0; i < v.NumField() && err == nil; i++ {
			if f := v.Type().Field(i); f.IsExported() {
				err = checkText(v.Field(i), strings.ToLower(f.Name))
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next() && err == nil; {
			if err = checkText(it.Key(), what); err == nil {
				err = checkText(it.Value(), what)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return nil
		}
		for i := 0; i < v.Len() && err == nil; i++ {
			err = checkText(v.Index(i), what)
		}
	}
	return err
}
