package main

import (
	"flag"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/certificates"
	_ "k8s.io/kubernetes/pkg/apis/certificates/install"
	"k8s.io/kubernetes/pkg/apis/certificates/validation"
	testingclock "k8s.io/utils/clock/testing"
)

// decode reads a JSON object of any served version into the internal one, with the API server's defaults.
// Unknown and duplicate fields are refused.
func decode(flag, path string, into runtime.Object) error {
	content, err := read(flag, path)
	if err != nil {
		return err
	}
	decoder := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDecoder()
	return runtime.DecodeInto(decoder, content, into)
}

func judgeFields(problems field.ErrorList) verdict {
	if len(problems) == 0 {
		return accepted(nil)
	}
	reasons := make([]string, len(problems))
	for i, problem := range problems {
		reasons[i] = problem.Error()
	}
	return refused(reasons...)
}

// judgePCRCreate asks whether the API server would let this PodCertificateRequest be created.
func judgePCRCreate(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("pcr-create", flag.ContinueOnError)
	path := flags.String("file", "", "FILE with the request, JSON")
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	var request certificates.PodCertificateRequest
	if err := decode("file", *path, &request); err != nil {
		return verdict{}, err
	}
	return judgeFields(validation.ValidatePodCertificateRequestCreate(&request)), nil
}

// judgePCRStatus asks whether the API server, whose clock shows a given time, would take this status. As its
// update strategy does, it ignores changes of spec and of all metadata but managed fields.
func judgePCRStatus(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("pcr-status", flag.ContinueOnError)
	oldPath := flags.String("old", "", "FILE with the request as it is, JSON")
	newPath := flags.String("new", "", "FILE with the request as it shall be, JSON")
	now := flags.String("now", "", "the API server's time, RFC 3339; default: now")
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	moment := time.Now()
	if *now != "" {
		parsed, err := time.Parse(time.RFC3339, *now)
		if err != nil {
			return verdict{}, usageError{err}
		}
		moment = parsed
	}
	var oldRequest, newRequest certificates.PodCertificateRequest
	if err := decode("old", *oldPath, &oldRequest); err != nil {
		return verdict{}, err
	}
	if err := decode("new", *newPath, &newRequest); err != nil {
		return verdict{}, err
	}
	if problems := validation.ValidatePodCertificateRequestCreate(&oldRequest); len(problems) > 0 {
		return judgeFields(problems), nil
	}
	newRequest.Spec = oldRequest.Spec
	metav1.ResetObjectMetaForStatus(&newRequest.ObjectMeta, &oldRequest.ObjectMeta)
	clock := testingclock.NewFakePassiveClock(moment)
	return judgeFields(validation.ValidatePodCertificateRequestStatusUpdate(&newRequest, &oldRequest, clock)), nil
}

// judgeCTB asks whether the API server would take this ClusterTrustBundle, new or in place of an old one.
func judgeCTB(arguments []string) (verdict, error) {
	flags := flag.NewFlagSet("ctb", flag.ContinueOnError)
	path := flags.String("file", "", "FILE with the bundle, JSON")
	oldPath := flags.String("old", "", "FILE with the bundle that it replaces, JSON, optional")
	if err := flags.Parse(arguments); err != nil {
		return verdict{}, usageError{err}
	}
	var bundle certificates.ClusterTrustBundle
	if err := decode("file", *path, &bundle); err != nil {
		return verdict{}, err
	}
	if *oldPath == "" {
		return judgeFields(validation.ValidateClusterTrustBundle(&bundle, validation.ValidateClusterTrustBundleOptions{})), nil
	}
	var oldBundle certificates.ClusterTrustBundle
	if err := decode("old", *oldPath, &oldBundle); err != nil {
		return verdict{}, err
	}
	return judgeFields(validation.ValidateClusterTrustBundleUpdate(&bundle, &oldBundle)), nil
}
