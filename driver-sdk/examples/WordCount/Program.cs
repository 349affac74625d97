// Counts words: the ten commonest, as word<TAB>count, ties by word. A word is a maximal run of ASCII letters, lower-cased.
//
//   dotnet run --project driver-sdk/examples/WordCount                     over the XML documentation of the .NET SDK, embedded
//   dotnet run --project driver-sdk/examples/WordCount -- 'logs/**/*.txt'  over your files
//   yarnish run driver-sdk/examples/WordCount                              on the cluster

using System.Runtime.InteropServices;
using Yarnish;

try
{
    await using var session = await YarnishSession.CreateBuilder(args).WithName("word-count").ConnectAsync();

    var top = await session.ReadText(session.Arguments is { Count: > 0 } paths ? paths : [SdkDocumentation()])
        .SelectMany(static line => Words(line))
        .CountBy(static word => word)
        .OrderByDescending(static pair => pair.Value)
        .ThenBy(static pair => pair.Key)
        .TakeAsync(10);

    foreach (var (word, count) in top)
    {
        Console.WriteLine($"{word}\t{count}");
    }
    return 0;
}
catch (Exception error) when (error is YarnishException or IOException)
{
    Console.Error.WriteLine(error.Message);
    return error is YarnishException failure ? failure.ExitCode : 1;
}

static IEnumerable<string> Words(string line)
{
    for (var start = 0; start < line.Length; start++)
    {
        if (char.IsAsciiLetter(line[start]))
        {
            var end = start + 1;
            while (end < line.Length && char.IsAsciiLetter(line[end]))
            {
                end++;
            }
            yield return line[start..end].ToLowerInvariant();
            start = end;
        }
    }
}

// Some 70 MB of real English that every .NET SDK carries: packs/*/*/ref/*/*.xml beside the shared runtime.
static string SdkDocumentation() =>
    Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "packs", "*", "*", "ref", "*", "*.xml"));
