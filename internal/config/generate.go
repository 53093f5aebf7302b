package config

//go:generate go run ../../tools/configdoc ../../docs/configuration.md
