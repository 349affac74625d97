using System.Collections.Immutable;
using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Text;
using Xunit;
using Yarnish.Analyzers;

namespace Yarnish.Tests.Analyzers;

/// <summary>Compiles a program against the SDK and runs the analyzers over it. Where <c>[|YRN0001:code|]</c> stands the diagnostic is expected, and nowhere else.</summary>
internal static partial class Compiled
{
    private const string Usings = """
        using System;
        using System.Collections.Generic;
        using System.Data.Common;
        using System.IO;
        using System.Linq;
        using System.Net.Http;
        using System.Threading;
        using System.Threading.Tasks;
        using Yarnish;
        using Yarnish.Serialization;

        """;

    private static readonly ImmutableArray<MetadataReference> References = [.. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!)
        .Split(Path.PathSeparator)
        .Where(File.Exists)
        .Select(path => MetadataReference.CreateFromFile(path))];

    private static readonly CSharpCompilationOptions Options = new(OutputKind.DynamicallyLinkedLibrary, nullableContextOptions: NullableContextOptions.Enable, allowUnsafe: true);

    [GeneratedRegex(@"\[\|(?<id>YRN\d{4}):(?<code>.*?)\|\]", RegexOptions.Singleline)]
    private static partial Regex Marks { get; }

    /// <summary>The program without its marks.</summary>
    public static CSharpCompilation Compilation(string marked) => Compilation(marked, out _, out _);

    /// <summary>Asserts the marked diagnostics, no others, and gives their messages in order.</summary>
    public static async Task<string[]> HasAsync(string marked)
    {
        var diagnostics = await DiagnosticsOfAsync(Compilation(marked, out var source, out var expected));

        Assert.Equal(expected.Order(), diagnostics.Select(found => $"{found.Id} at {found.Location.SourceSpan.Start}: {source.Substring(found.Location.SourceSpan.Start, found.Location.SourceSpan.Length)}").Order());
        return [.. diagnostics.OrderBy(found => found.Location.SourceSpan.Start).Select(found => found.GetMessage(null))];
    }

    private static CSharpCompilation Compilation(string marked, out string source, out List<string> expected)
    {
        expected = [];
        source = Usings;
        var position = 0;
        foreach (Match mark in Marks.Matches(marked))
        {
            source += marked[position..mark.Index];
            expected.Add($"{mark.Groups["id"].Value} at {source.Length}: {mark.Groups["code"].Value}");
            source += mark.Groups["code"].Value;
            position = mark.Index + mark.Length;
        }

        source += marked[position..];
        return CSharpCompilation.Create("Program", [CSharpSyntaxTree.ParseText(SourceText.From(source, System.Text.Encoding.UTF8), new(LanguageVersion.CSharp14), "Program.cs")], References, Options);
    }

    /// <summary>Applies the fix of the one diagnostic in a program that is fixable, and asserts the program it gives; the diagnostic must be gone.</summary>
    public static async Task FixesAsync(string before, string after)
    {
        using var workspace = new AdhocWorkspace();
        var project = workspace.AddProject(ProjectInfo.Create(ProjectId.CreateNewId(), VersionStamp.Default, "Program", "Program", LanguageNames.CSharp, compilationOptions: Options,
            parseOptions: new CSharpParseOptions(LanguageVersion.CSharp14), metadataReferences: References));
        var document = workspace.AddDocument(project.Id, "Program.cs", SourceText.From(Usings + before));
        var diagnostics = await DiagnosticsOfAsync((await document.Project.GetCompilationAsync())!);
        var fixes = new List<CodeAction>();
        var diagnostic = Assert.Single(diagnostics, found => new CopyToLocalFix().FixableDiagnosticIds.Contains(found.Id));
        await new CopyToLocalFix().RegisterCodeFixesAsync(new CodeFixContext(document, diagnostic, (action, _) => fixes.Add(action), default));

        var operation = Assert.IsType<ApplyChangesOperation>((await Assert.Single(fixes).GetOperationsAsync(default)).Single());
        var changed = operation.ChangedSolution.GetDocument(document.Id)!;
        var simplified = await Microsoft.CodeAnalysis.Simplification.Simplifier.ReduceAsync(changed);
        var formatted = await Microsoft.CodeAnalysis.Formatting.Formatter.FormatAsync(simplified);

        Assert.Equal((Usings + after).ReplaceLineEndings(), (await formatted.GetTextAsync()).ToString().ReplaceLineEndings());
        Assert.DoesNotContain(await DiagnosticsOfAsync((await formatted.Project.GetCompilationAsync())!), found => found.Id == diagnostic.Id);
    }

    /// <summary>Asserts that no fix is offered.</summary>
    public static async Task OffersNothingAsync(string source)
    {
        using var workspace = new AdhocWorkspace();
        var project = workspace.AddProject(ProjectInfo.Create(ProjectId.CreateNewId(), VersionStamp.Default, "Program", "Program", LanguageNames.CSharp, compilationOptions: Options,
            parseOptions: new CSharpParseOptions(LanguageVersion.CSharp14), metadataReferences: References));
        var document = workspace.AddDocument(project.Id, "Program.cs", SourceText.From(Usings + source));
        var diagnostic = Assert.Single(await DiagnosticsOfAsync((await document.Project.GetCompilationAsync())!), found => new CopyToLocalFix().FixableDiagnosticIds.Contains(found.Id));
        await new CopyToLocalFix().RegisterCodeFixesAsync(new CodeFixContext(document, diagnostic, (action, _) => Assert.Fail(action.Title), default));
    }

    private static async Task<ImmutableArray<Diagnostic>> DiagnosticsOfAsync(Compilation compilation)
    {
        Assert.Empty(compilation.GetDiagnostics().Where(found => found.Severity == DiagnosticSeverity.Error));
        var analyzers = ImmutableArray.Create<DiagnosticAnalyzer>(new ClosureAnalyzer(), new KeyAnalyzer());
        var all = await compilation.WithAnalyzers(analyzers).GetAllDiagnosticsAsync();
        Assert.Empty(all.Where(found => found.Id == "AD0001"));
        return [.. all.Where(found => found.Id.StartsWith("YRN", StringComparison.Ordinal))];
    }
}
