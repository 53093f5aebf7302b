// OpenAI's own client for Go, pointed at Archon. It finds address and key in the environment by itself:
//
//	OPENAI_BASE_URL=http://localhost:8080/v1 OPENAI_API_KEY=ak_… go run .
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/openai/openai-go/v3"
)

func main() {
	err := chat(context.Background())
	var refused *openai.Error
	switch {
	case errors.As(err, &refused):
		fmt.Fprintln(os.Stderr, refused.StatusCode, refused.Code)
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func chat(ctx context.Context) error {
	client := openai.NewClient()
	models, err := client.Models.List(ctx)
	if err != nil {
		return err
	}
	params := openai.ChatCompletionNewParams{
		Model:    models.Data[0].ID,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Say hello in three languages.")},
	}

	answer, err := client.Chat.Completions.New(ctx, params)
	if err != nil {
		return err
	}
	fmt.Println("plain:", answer.Choices[0].Message.Content)
	fmt.Println("tokens:", answer.Usage.TotalTokens)

	stream := client.Chat.Completions.NewStreaming(ctx, params)
	fmt.Print("streamed: ")
	for stream.Next() {
		if choices := stream.Current().Choices; len(choices) > 0 {
			fmt.Print(choices[0].Delta.Content)
		}
	}
	fmt.Println()
	return stream.Err()
}
