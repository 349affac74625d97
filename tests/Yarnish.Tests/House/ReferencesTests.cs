using System.Runtime.CompilerServices;
using System.Xml.Linq;
using Xunit;

namespace Yarnish.Tests.House;

/// <summary>Proves the reference arrows of the house: who may use whom, and that the pure cores use no package.</summary>
public sealed class ReferencesTests
{
    // The arrows. Left may reference right; everything else fails.
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Yarnish.Protocol"] = [],
        ["Yarnish.Transport"] = ["Yarnish.Protocol"],
        ["Yarnish.Hosting"] = ["Yarnish.Protocol"],
        ["Yarnish.Scheduling"] = ["Yarnish.Protocol"],
        ["Yarnish.Queues"] = ["Yarnish.Scheduling"],
        ["Yarnish.ResourceManager"] = ["Yarnish.Scheduling", "Yarnish.Queues", "Yarnish.Transport", "Yarnish.Hosting"],
        ["Yarnish.NodeAgent"] = ["Yarnish.Transport", "Yarnish.Hosting", "Yarnish.Blocks"],
        ["Yarnish.Blocks"] = ["Yarnish.Protocol"],
        ["Yarnish.Serialization"] = ["Yarnish.Protocol"],
        ["Yarnish.Executor"] = ["Yarnish.Blocks", "Yarnish.Serialization", "Yarnish.Transport", "Yarnish.Hosting"],
        ["Yarnish.Dataflow"] = ["Yarnish.Protocol"],
        ["Yarnish.Driver"] = ["Yarnish.Dataflow", "Yarnish.Executor"],
        ["Yarnish"] = ["Yarnish.Driver"],
        ["Yarnish.Analyzers"] = [],
        ["Yarnish.Analyzers.CodeFixes"] = ["Yarnish.Analyzers"],
        ["Yarnish.Sql"] = ["Yarnish.Driver"],
        ["Yarnish.Cli"] = ["Yarnish.Driver", "Yarnish.Queues"],
    };

    private static readonly string[] PureCores = ["Yarnish.Scheduling", "Yarnish.Dataflow"];

    public static TheoryData<string> Projects() => [.. ProjectFiles().Select(path => Path.GetFileNameWithoutExtension(path))];

    [Theory]
    [MemberData(nameof(Projects))]
    public void Every_project_references_only_what_its_arrows_allow(string project)
    {
        var references = References(project).ToArray();

        Assert.True(Allowed.TryGetValue(project, out var allowed), $"{project} has no arrows: add it to this test and to ARCHITECTURE.md.");
        Assert.Empty(references.Except(allowed));
    }

    [Fact]
    public void Every_arrow_starts_at_a_project_that_exists_or_is_planned()
    {
        var existing = ProjectFiles().Select(Path.GetFileNameWithoutExtension).ToHashSet();

        Assert.Empty(Allowed.Keys.Where(name => !existing.Contains(name)).Except(["Yarnish.Sql"]));
    }

    [Fact]
    public void Pure_cores_use_no_package_and_are_guarded_at_build_time()
    {
        foreach (var core in PureCores)
        {
            var xml = XDocument.Load(ProjectFiles().Single(path => Path.GetFileNameWithoutExtension(path) == core));

            Assert.Empty(xml.Descendants("PackageReference"));
            Assert.Equal("true", xml.Descendants("YarnishPureCore").Single().Value);
        }
    }

    private static IEnumerable<string> References(string project)
    {
        var xml = XDocument.Load(ProjectFiles().Single(path => Path.GetFileNameWithoutExtension(path) == project));
        return xml.Descendants("ProjectReference")
            // A reference that only orders the build hands over no assembly: it is not an arrow.
            .Where(reference => (string?)reference.Attribute("ReferenceOutputAssembly") != "false")
            .Select(reference => Path.GetFileNameWithoutExtension(((string)reference.Attribute("Include")!).Replace('\\', '/')));
    }

    // Tests and examples may reference everything.
    private static IEnumerable<string> ProjectFiles() =>
        new[] { "infra", "resource-manager", "node-agent", "executor", "driver-sdk" }
            .SelectMany(folder => Directory.EnumerateFiles(Path.Combine(Root(), folder), "*.csproj", SearchOption.AllDirectories))
            .Where(path => !path.Contains("/examples/", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal);

    private static string Root([CallerFilePath] string here = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", ".."));
}
